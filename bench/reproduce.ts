// What a reproduction adds to the time of its original, verdict included: one stage of over a minute, sleep and some CPU.
import { execFile } from 'node:child_process';
import { openAsBlob } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isFinished } from '#core/run.ts';
import type { Client } from '#sdk/client.ts';
import { printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { startBenchStack } from './stack.ts';

const run = promisify(execFile);
const project = 'minute';

/** The same bytes each time; mostly asleep, so that the load of the machine does not decide. */
const train = `
import hashlib, json, os, time
digest = b""
for second in range(66):
    time.sleep(1)
    for _ in range(20000): digest = hashlib.sha256(digest).digest()
os.makedirs("model", exist_ok=True)
for n in range(20): open(f"model/part-{n}", "wb").write(digest * 32768)
json.dump({"accuracy": 0.9}, open("metrics.json", "w"))
`;

const yaml = `
stages: { train: { command: python train.py, outputs: [model/, metrics.json] } }
model: { name: minute, path: model/ }
gate: ["accuracy >= 0.5"]
`;

async function provideCode(client: Client, dir: string): Promise<string> {
  const checkout = join(dir, 'checkout');
  await mkdir(checkout);
  await writeFile(join(checkout, 'train.py'), train);
  await writeFile(join(checkout, 'assay.yaml'), yaml);
  const git = async (...args: string[]) => {
    const identity = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
    return (await run('git', ['-C', checkout, ...identity, ...args])).stdout.trim();
  };
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '.');
  await git('commit', '--quiet', '--message=a minute');
  const bundle = join(dir, 'code.bundle');
  await git('bundle', 'create', '--quiet', bundle, 'HEAD');
  const commit = await git('rev-parse', 'HEAD');
  await client.projects.create({ name: project, defaultBranch: 'main' });
  await client.code.sendBundle(project, commit, await openAsBlob(bundle));
  return commit;
}

async function untilEnd(client: Client, id: string): Promise<void> {
  for await (const event of client.runs.watch(id)) {
    if (event.kind === 'run' && isFinished(event.run.status) && event.run.status !== 'succeeded')
      throw new Error(`The run ${id} ended as ${event.run.status}.`);
  }
}

/** The stage's own time is the machine's; what is beside it is ours. */
async function besideStageMs(client: Client, id: string, wallMs: number): Promise<number> {
  const { steps } = await client.runs.get(id);
  return wallMs - (steps.find(({ name }) => name === 'train')?.durationMs ?? 0);
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const stack = await startBenchStack(join(dir, 'home'));
  const { client } = stack;
  try {
    const commit = await provideCode(client, dir);
    // The first run of a stack makes the environment; it is none of the two that are compared.
    const warm = await client.runs.submit(project, { commit, command: ['true'] });
    await untilEnd(client, warm.id);
    let original = '';
    const originalMs = await timeMs(async () => {
      original = (await client.runs.submit(project, { commit, ref: 'main', reuse: false })).id;
      await untilEnd(client, original);
    });
    let again = '';
    const againMs = await timeMs(async () => {
      again = (await client.runs.reproduce(original)).id;
      await untilEnd(client, again);
    });
    const { verdict } = await client.runs.get(again);
    console.log(`verdict: ${verdict?.verdict} ${verdict?.grade}`);
    const beside = [await besideStageMs(client, original, originalMs), await besideStageMs(client, again, againMs)];
    printComparisons('A run of over a minute, and its reproduction', [
      {
        what: 'submit to end',
        ours: againMs / 1000,
        unit: 's',
        against: { name: 'original', value: originalMs / 1000 },
        aim: '≤ 1.05',
      },
      {
        what: 'of it beside the stage',
        ours: beside[1] ?? 0,
        unit: 'ms',
        against: { name: 'original', value: beside[0] ?? 0 },
      },
    ]);
  } finally {
    await stack.stop();
  }
});
