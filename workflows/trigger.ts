// One tick of a schedule, started by Temporal's own schedule: hands the time it was due to the one activity that decides.
import { ActivityCancellationType, proxyActivities, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { Activities } from '#activities/index.ts';
import type { TriggerInput, TriggerResult } from './messages.ts';

/** Set by Temporal: the time the schedule names, however late the workflow starts. */
const nominalAttribute = 'TemporalScheduledStartTime';

/** For as long as it takes: a tick that comes too late is refused by the decision itself. */
const { takeTick } = proxyActivities<Activities>({
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '250ms', maximumInterval: '30s' },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

export async function trigger({ scheduleId }: TriggerInput): Promise<TriggerResult> {
  const nominalAt = nominalTime();
  setCurrentDetails(`**Due:** ${nominalAt}`);
  const { runId, skipped, line } = await takeTick({ scheduleId, nominalAt });
  setCurrentDetails(`**Due:** ${nominalAt}\n\n**Result:** ${line}`);
  return { nominalAt, runId, skipped };
}

/** Started by hand it has no such time; then the start counts. */
function nominalTime(): string {
  const { typedSearchAttributes, startTime } = workflowInfo();
  const found = typedSearchAttributes.getAll().find(({ key }) => key.name === nominalAttribute)?.value;
  return (found instanceof Date ? found : startTime).toISOString();
}
