// What started a run that no person submitted, in a few words.
import type { RunSummary } from '#contract/runs.ts';

export function describeTrigger(trigger: NonNullable<RunSummary['trigger']>): string {
  switch (trigger.kind) {
    case 'push':
      return `push to ${trigger.branch}`;
    case 'schedule':
      return `schedule ${trigger.schedule}, due ${minutes(trigger.nominalAt)}`;
  }
}

/** `2026-11-24 03:00 UTC`; seconds only where there are some. */
function minutes(instant: string): string {
  const [date = '', time = ''] = new Date(instant).toISOString().split('T');
  const seconds = time.slice(5, 8);
  return `${date} ${time.slice(0, 5)}${seconds === ':00' ? '' : seconds} UTC`;
}
