// Histories of real runs, replayed against the workflows as they are now: a change that open runs would not survive fails
// here. The histories are written by test/support/save-histories.ts.
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundleWorkflows, installRuntime } from '#worker/temporal/runtime.ts';
import { createLogger } from '#worker/logger.ts';

interface HistoryEvent {
  eventType: string;
  activityTaskScheduledEventAttributes?: { activityType: { name: string } };
}

const folder = fileURLToPath(new URL('../histories/', import.meta.url));
const names = readdirSync(folder).map((file) => file.replace('.json', ''));
let workflowBundle: Awaited<ReturnType<typeof bundleWorkflows>>;

const load = async (name: string) =>
  JSON.parse(await readFile(`${folder}${name}.json`, 'utf8')) as { events: HistoryEvent[] };

const activitiesOf = (events: HistoryEvent[]) =>
  events.flatMap((event) => event.activityTaskScheduledEventAttributes?.activityType.name ?? []);

beforeAll(async () => {
  installRuntime(createLogger('silent'));
  workflowBundle = await bundleWorkflows();
});

describe('the history of a run', () => {
  it.each(names)('that was %s replays', async (name) => {
    await expect(Worker.runReplayHistory({ workflowBundle }, await load(name))).resolves.toBeUndefined();
  });

  it('with another order of its steps does not replay', async () => {
    const text = await readFile(`${folder}succeeded.json`, 'utf8');
    const changed = text.replaceAll('"resolveCommit"', '"gate"');
    await expect(Worker.runReplayHistory({ workflowBundle }, JSON.parse(changed))).rejects.toThrow(
      /TMPRL1100|nondeterminism/i,
    );
  });

  it.each(['succeeded', 'promoted'])('that was %s has at most 20 events and 6 for each activity', async (name) => {
    const { events } = await load(name);
    expect(events.length).toBeLessThanOrEqual(20 + 6 * activitiesOf(events).length);
  });

  it('that found equal results claims its stages and launches none', async () => {
    const { events } = await load('reused');
    const stages = activitiesOf(events).filter((name) => name === 'claimStep' || name === 'runStage');
    expect(stages).toEqual(['claimStep', 'claimStep', 'claimStep']);
  });

  it('that lost its watcher attaches to the launch on its node and starts nothing twice', async () => {
    const { events } = await load('attached');
    expect(activitiesOf(events)).toEqual([
      'resolveCommit',
      'buildEnvironment',
      'claimStep',
      'runStage',
      'inspectAttempt',
      'runStage',
      'persist',
      'gate',
      'finishRun',
    ]);
  });
});
