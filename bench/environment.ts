// What a run pays for its environment: nothing changed, only code changed, and packages changed with warm wheels.
// The peers are what a person would type: `uv pip sync` into an existing environment, or into a new one.
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { ensureBuilder } from '#activities/runners/stage-user.ts';
import { createContext, inImage } from '#environment/context.ts';
import { createEnvironments, type Environments } from '#environment/environments.ts';
import { selectBase } from '#environment/image/base.ts';
import { materialiseImage } from '#environment/image/environment-image.ts';
import { imagePython } from '#environment/image/image-python.ts';
import { environmentIdentity, environmentKey, lockKey } from '#environment/key.ts';
import type { Lock } from '#environment/lock.ts';
import { removeTree } from '#environment/process/trees.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { resolve } from '#environment/resolve.ts';
import { findSource } from '#environment/sources/find-source.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';

const run = promisify(execFile);
const baseImage = process.env.ASSAY_TEST_BASE_IMAGE ?? 'assay-test-python:3.11';
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

/** The same in images: what a run pays when nothing or only code changed, against one question to the engine. */
async function images(dir: string): Promise<Comparison[]> {
  const docker = new Docker();
  const base = await docker
    .getImage(baseImage)
    .inspect()
    .catch(() => undefined);
  if (base === undefined) {
    console.log(`no images: no Docker engine with ${baseImage} (set ASSAY_TEST_BASE_IMAGE)`);
    return [];
  }
  const settings = { docker, baseImage, limits: { memoryBytes: 4 * 2 ** 30, cpus: 2 } };
  const cacheDir = join(dir, 'image-cache');
  const builder = await ensureBuilder();
  const given = { ...createContext({ cacheDir, variables: process.env, builder, images: settings }), images: settings };
  const root = await createCheckout(join(dir, 'images'));
  const locks = new Map<string, Lock>();
  const build = async (): Promise<string> => {
    const source = await findSource(root);
    const place = await selectBase(given, { root, image: null, dockerfile: null, python: source.python }, {});
    const context = inImage(given, place);
    const { interpreter } = await imagePython(context, place, source.python);
    const question = await lockKey(context, source, interpreter);
    const lock = locks.get(question) ?? (await resolve(context, { root, source, interpreter }));
    locks.set(question, lock);
    const key = environmentKey(environmentIdentity(lock.sha256, interpreter, place.digest));
    return (await materialiseImage(context, { environmentKey: key, lock, interpreter })).image;
  };
  const first = await timeMs(build);
  const image = await build();
  const before = { ...given.counters };
  const times = await interleave(unchangedRounds, {
    ours: () => timeMs(build),
    limit: () => timeMs(() => docker.getImage(image).inspect()),
  });
  for (let n = 0; n < unchangedRounds; n += 1) {
    await writeFile(join(root, 'train.py'), `print(${n})\n`);
    await build();
  }
  const { resolves, builds } = given.counters;
  const extra = resolves + builds - before.resolves - before.builds;
  await docker.getImage(image).remove({ force: true });
  const against = { name: 'one image inspected', value: times.limit };
  return [
    { what: 'image, first time: lock, packages, one layer', ours: first, unit: 'ms' },
    { what: 'image, unchanged requirements', ours: times.ours, unit: 'ms', against, aim: '≤ 20 ms' },
    {
      what: `image, builds in ${unchangedRounds} repeats and ${unchangedRounds} changes of code`,
      ours: extra,
      unit: '',
      aim: '0',
    },
  ];
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
    ...(await images(dir)),
  ];
  printComparisons(`environment: ${requirements.trim().split('\n').join(', ')}`, rows);
  await removeTree(dir);
});
