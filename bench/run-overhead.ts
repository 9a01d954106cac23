// What a warm run costs beside its stages: examples/tiny through the whole platform, the same commands by hand, and bare
// Temporal with as many activities on the same server.
import { execFile } from 'node:child_process';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Client } from '#sdk/client.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { type BareTemporal, startBareTemporal } from './bare-temporal.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { createRepository } from './repository.ts';
import { startBenchStack, succeed } from './stack.ts';

const run = promisify(execFile);
const example = fileURLToPath(new URL('../examples/tiny', import.meta.url));
const scripts = ['prepare.py', 'train.py', 'evaluate.py'];
const project = 'tiny';
const warmUps = 3;
const rounds = 20;

interface Code {
  checkout: string;
  commit: string;
}

/** The example as a repository of its own, known to the server. */
async function provideCode(client: Client, dir: string): Promise<Code> {
  const { checkout, commit } = await createRepository(client, project, dir);
  await cp(example, checkout, { recursive: true });
  return { checkout, commit: await commit() };
}

async function runThrough(client: Client, commit: string): Promise<string> {
  const { id } = await client.runs.submit(project, { commit, ref: 'main', reuse: false });
  await succeed(client, id);
  return id;
}

async function runByHand(checkout: string): Promise<void> {
  for (const script of scripts) await run('python3', [script], { cwd: checkout });
}

async function measure(client: Client, { checkout, commit }: Code, bare: BareTemporal): Promise<Comparison[]> {
  let id = '';
  for (let n = 0; n < warmUps; n += 1) id = await runThrough(client, commit);
  const events = await bare.eventsOf(runWorkflowId(id, 1));
  const activities = events.filter((type) => type === 'activityTaskScheduledEventAttributes').length;
  for (let n = 0; n < warmUps; n += 1) await bare.run(activities);
  const times = await interleave(rounds, {
    ours: () => timeMs(() => runThrough(client, commit)),
    bare: () => timeMs(() => bare.run(activities)),
    hand: () => timeMs(() => runByHand(checkout)),
  });
  const overhead = times.ours - times.hand;
  const temporal = { name: `bare Temporal, ${activities} activities`, value: times.bare };
  return [
    { what: 'warm run', ours: times.ours, unit: 'ms', against: { name: 'by hand', value: times.hand } },
    { what: 'beside its stages', ours: overhead, unit: 'ms', against: temporal, aim: '≤ 1.5' },
    { what: 'beside its stages', ours: overhead, unit: 'ms', aim: '≤ 300 ms' },
    {
      what: 'events in its history',
      ours: events.length,
      unit: '',
      against: { name: `20 + 6 × ${activities}`, value: 20 + 6 * activities },
      aim: '≤ 1',
    },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const stack = await startBenchStack(join(dir, 'home'));
  try {
    const bare = await startBareTemporal(stack.temporal);
    try {
      const rows = await measure(stack.client, await provideCode(stack.client, dir), bare);
      printComparisons(`run-overhead: examples/tiny, ${scripts.length} stages, median of ${rounds}`, rows);
    } finally {
      await bare.stop();
    }
  } finally {
    await stack.stop();
  }
});
