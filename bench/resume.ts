// How long the plan of a resume takes: six stages in a repository of 10,000 files of which one changed, over HTTP, warm.
// The limit: what git alone needs to list the new tree and to compare it with the old one.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Client } from '#sdk/client.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { createRepository } from './repository.ts';
import { followToEnd, startBenchStack } from './stack.ts';

const run = promisify(execFile);
const project = 'large';
const filesCount = 10_000;
const filesPerFolder = 100;
const warmUps = 3;
const rounds = 15;

const stage = (name: string, more = '') =>
  `  ${name}: { command: "touch ${name}.txt", outputs: [${name}.txt]${more} }\n`;
const yaml = `project: ${project}\nstages:\n${[1, 2, 3, 4].map((n) => stage(`s${n}`, `, code: ['f0${n}/']`)).join('')}${stage('s5')}  s6: { command: "false" }\n`;

interface Code {
  checkout: string;
  before: string;
  after: string;
}

/** A repository of many files, at two commits between which one file changed. */
async function provideCode(client: Client, dir: string): Promise<Code> {
  const { checkout, commit } = await createRepository(client, project, dir);
  for (let folder = 0; folder < filesCount / filesPerFolder; folder += 1) {
    const path = join(checkout, `f${String(folder).padStart(2, '0')}`);
    await mkdir(path, { recursive: true });
    await Promise.all(
      Array.from({ length: filesPerFolder }, (_, n) => writeFile(join(path, `m${n}.py`), `x = ${folder * 1000 + n}\n`)),
    );
  }
  await writeFile(join(checkout, 'assay.yaml'), yaml);
  const before = await commit();
  await writeFile(join(checkout, 'f02', 'm7.py'), 'x = 0\ny = 1\n');
  return { checkout, before, after: await commit() };
}

async function failedRun(client: Client, commit: string): Promise<string> {
  const { id } = await client.runs.submit(project, { commit, ref: 'main' });
  await followToEnd(client, id);
  return id;
}

async function measure(client: Client, { checkout, before, after }: Code): Promise<Comparison[]> {
  const id = await failedRun(client, before);
  const plan = async (commit: string) => (await client.runs.resume(id, { commit, plan: true })).plan;
  const git = (...args: string[]) => run('git', ['-C', checkout, ...args], { maxBuffer: 64 * 1024 ** 2 });
  const [first] = [await timeMs(() => plan(after))];
  for (const { name, sentence } of (await plan(after))?.steps ?? []) console.log(`  ${name}: ${sentence}`);
  for (let n = 0; n < warmUps; n += 1) await plan(after);
  const times = await interleave(rounds, {
    changed: () => timeMs(() => plan(after)),
    same: () => timeMs(() => plan(before)),
    git: () =>
      timeMs(async () => {
        await git('ls-tree', '-r', '-t', '-z', '-l', '--full-tree', after);
        await git('diff-tree', '-r', '-z', '--numstat', '--no-renames', before, after);
      }),
  });
  const limit = { name: 'git ls-tree and git diff-tree', value: times.git };
  return [
    { what: 'plan, one file changed', ours: times.changed, unit: 'ms', against: limit, aim: '≤ 300 ms' },
    { what: 'plan, nothing changed', ours: times.same, unit: 'ms', against: limit, aim: '≤ 300 ms' },
    { what: 'the first plan at the new commit', ours: first ?? 0, unit: 'ms', against: limit },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const stack = await startBenchStack(join(dir, 'home'));
  try {
    const rows = await measure(stack.client, await provideCode(stack.client, dir));
    printComparisons(`resume: plan over ${filesCount} files, 6 stages, median of ${rounds}`, rows);
  } finally {
    await stack.stop();
  }
});
