// What a run costs of which every stage is answered by an earlier result, beside bare Temporal with as many activities.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '#sdk/client.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { type BareTemporal, startBareTemporal } from './bare-temporal.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { createRepository } from './repository.ts';
import { startBenchStack, succeed } from './stack.ts';

const project = 'chain';
const stages = 6;
const warmUps = 3;
const rounds = 20;

/** A chain of stages, each with a file and a metric. */
async function provideCode(client: Client, dir: string): Promise<string> {
  const { checkout, commit } = await createRepository(client, project, dir);
  const lines = Array.from({ length: stages }, (_, n) => {
    const command = `echo ${n} > out-${n}.txt; echo "{\\"m${n}\\": ${n}}" > metrics-${n}.json`;
    return `  s${n}: { command: '${command}', outputs: [out-${n}.txt, metrics-${n}.json] }`;
  });
  const metrics = 'metrics: { files: ["metrics-*.json"] }';
  await writeFile(join(checkout, 'assay.yaml'), `stages:\n${lines.join('\n')}\n${metrics}\n`);
  return await commit();
}

async function runThrough(client: Client, commit: string): Promise<string> {
  const { id } = await client.runs.submit(project, { commit, ref: 'main' });
  await succeed(client, id);
  return id;
}

async function measure(client: Client, commit: string, bare: BareTemporal): Promise<Comparison[]> {
  let id = '';
  for (let n = 0; n < warmUps; n += 1) id = await runThrough(client, commit);
  const { steps } = await client.runs.get(id);
  const reused = steps.filter(({ kind, status }) => kind === 'stage' && status === 'reused').length;
  if (reused !== stages) throw new Error(`${reused} of ${stages} stages were reused.`);
  const events = await bare.eventsOf(runWorkflowId(id, 1));
  const activities = events.filter((type) => type === 'activityTaskScheduledEventAttributes').length;
  for (let n = 0; n < warmUps; n += 1) await bare.run(activities);
  const times = await interleave(rounds, {
    ours: () => timeMs(() => runThrough(client, commit)),
    bare: () => timeMs(() => bare.run(activities)),
  });
  const temporal = { name: `bare Temporal, ${activities} activities`, value: times.bare };
  return [
    { what: `run of ${stages} reused stages`, ours: times.ours, unit: 'ms', against: temporal, aim: '≤ 1.5' },
    { what: 'own work per activity', ours: (times.ours - times.bare) / activities, unit: 'ms', aim: '≤ 20 ms' },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const stack = await startBenchStack(join(dir, 'home'));
  try {
    const bare = await startBareTemporal(stack.temporal);
    try {
      const rows = await measure(stack.client, await provideCode(stack.client, dir), bare);
      printComparisons(`reuse: ${stages} stages, all answered by an earlier run, median of ${rounds}`, rows);
    } finally {
      await bare.stop();
    }
  } finally {
    await stack.stop();
  }
});
