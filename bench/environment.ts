// What a run pays for its environment: nothing changed, only code changed, and packages changed with warm wheels.
// The peers are what a person would type: `uv pip sync` into an existing environment, or into a new one.
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createEnvironments, type Environments } from '#environment/environments.ts';
import type { Lock } from '#environment/lock.ts';
import { removeTree } from '#environment/process/trees.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';

const run = promisify(execFile);
const requirements = 'scikit-learn==1.5.*\npandas\nmatplotlib\n';
const unchangedRounds = 50;
const buildRounds = 3;

interface Bench {
  dir: string;
  cacheDir: string;
  environments: Environments;
  /** What the database and the blob store keep for a worker. */
  locks: Map<string, Lock>;
}

/** What the step `build-environment` does, the database being a map. */
async function buildEnvironment(
  bench: Bench,
  root: string,
): Promise<{ path: string; lock: Lock; interpreter: Interpreter }> {
  const { environments, locks } = bench;
  const source = await environments.findSource(root);
  const { interpreter } = await environments.selectPython(source.python);
  const key = await environments.lockKey(source, interpreter);
  const lock = locks.get(key) ?? (await environments.resolve({ root, source, interpreter }));
  locks.set(key, lock);
  const environmentKey = environments.environmentKey(lock, interpreter);
  const { path } = await environments.materialise({ environmentKey, lock, interpreter });
  return { path, lock, interpreter };
}

async function createCheckout(dir: string): Promise<string> {
  const root = join(dir, 'checkout');
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'requirements.txt'), requirements);
  await writeFile(join(root, 'train.py'), 'import sklearn\n');
  return root;
}

async function unchanged(bench: Bench, root: string): Promise<Comparison[]> {
  const { path } = await buildEnvironment(bench, root);
  const uv = await bench.environments.installUv();
  const lockFile = join(path, 'assay-lock.txt');
  const sync = [
    'pip',
    'sync',
    '--quiet',
    '--require-hashes',
    '--offline',
    '--python',
    join(path, 'bin', 'python'),
    lockFile,
  ];
  const env = { ...process.env, UV_CACHE_DIR: join(bench.cacheDir, 'uv-cache') };
  const before = { ...bench.environments.counters };
  const times = await interleave(unchangedRounds, {
    ours: () => timeMs(() => buildEnvironment(bench, root)),
    limit: () =>
      timeMs(() =>
        Promise.all([readFile(join(root, 'requirements.txt')), stat(path), readFile(join(path, 'pyvenv.cfg'))]),
      ),
    peer: () => timeMs(() => run(uv.path, sync, { env })),
  });
  const what = 'unchanged requirements';
  const extra =
    bench.environments.counters.resolves + bench.environments.counters.builds - before.resolves - before.builds;
  return [
    {
      what,
      ours: times.ours,
      unit: 'ms',
      against: { name: 'read and stat the files', value: times.limit },
      aim: '≤ 20 ms',
    },
    {
      what,
      ours: times.ours,
      unit: 'ms',
      against: { name: 'uv pip sync, nothing to do', value: times.peer },
      aim: '≤ 1',
    },
    { what: `resolves and builds in ${unchangedRounds} of them`, ours: extra, unit: '', aim: '0' },
  ];
}

async function codeChanged(bench: Bench, root: string): Promise<Comparison> {
  await buildEnvironment(bench, root);
  const before = { ...bench.environments.counters };
  for (let n = 0; n < unchangedRounds; n += 1) {
    await writeFile(join(root, 'train.py'), `print(${n})\n`);
    await buildEnvironment(bench, root);
  }
  const { resolves, builds } = bench.environments.counters;
  const extra = resolves + builds - before.resolves - before.builds;
  return { what: `resolves and builds in ${unchangedRounds} changes of code`, ours: extra, unit: '', aim: '0' };
}

/** All wheels in uv's cache: the difference is what we add to uv, and that the files are copies of their own. */
async function warmBuild(bench: Bench, root: string): Promise<Comparison> {
  const { lock, interpreter, path } = await buildEnvironment(bench, root);
  const uv = await bench.environments.installUv();
  const env = { ...process.env, UV_CACHE_DIR: join(bench.cacheDir, 'uv-cache') };
  const times = await interleave(buildRounds, {
    ours: (round) =>
      timeMs(() => bench.environments.materialise({ environmentKey: `bench-${round}`, lock, interpreter })),
    peer: (round) =>
      timeMs(async () => {
        const venv = join(bench.dir, `peer-${round}`);
        await run(uv.path, ['venv', '--quiet', '--python', interpreter.path, venv], { env });
        const options = ['--quiet', '--require-hashes', '--compile-bytecode', '--link-mode=copy'];
        const python = ['--python', join(venv, 'bin', 'python')];
        await run(uv.path, ['pip', 'sync', ...options, ...python, join(path, 'assay-lock.txt')], { env });
      }),
  });
  const against = { name: 'uv venv, uv pip sync with copies', value: times.peer };
  return { what: 'new environment, warm wheels', ours: times.ours, unit: 'ms', against, aim: '≤ 1.1' };
}

/** The unavoidable part of a build: the bytes of the environment copied once. */
async function copyLimit(bench: Bench, root: string): Promise<Comparison> {
  const { path, lock, interpreter } = await buildEnvironment(bench, root);
  const times = await interleave(buildRounds, {
    ours: (round) =>
      timeMs(() => bench.environments.materialise({ environmentKey: `limit-${round}`, lock, interpreter })),
    limit: (round) =>
      timeMs(() => cp(path, join(bench.dir, `copy-${round}`), { recursive: true, verbatimSymlinks: true })),
  });
  const against = { name: 'the finished files copied', value: times.limit };
  return { what: 'new environment, warm wheels', ours: times.ours, unit: 'ms', against };
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const cacheDir = join(dir, 'cache');
  const environments = createEnvironments({ cacheDir, variables: process.env });
  const bench: Bench = { dir, cacheDir, environments, locks: new Map() };
  const root = await createCheckout(dir);
  const first = await timeMs(() => buildEnvironment(bench, root));
  const rows = [
    { what: 'first time: uv, lock and packages downloaded', ours: first, unit: 'ms' },
    ...(await unchanged(bench, root)),
    await codeChanged(bench, root),
    await warmBuild(bench, root),
    await copyLimit(bench, root),
  ];
  printComparisons(`environment: ${requirements.trim().split('\n').join(', ')}`, rows);
  await removeTree(dir);
});
