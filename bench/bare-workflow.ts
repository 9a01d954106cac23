// What a run is held against: a workflow that does nothing but call an activity that does nothing, one after another.
import { proxyActivities } from '@temporalio/workflow';

const { nothing } = proxyActivities<{ nothing: () => Promise<void> }>({ startToCloseTimeout: '1 minute' });

export async function bare(activities: number): Promise<void> {
  for (let n = 0; n < activities; n += 1) await nothing();
}
