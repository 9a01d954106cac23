// What a stage in a container costs beside its container: from our launch to its exit, against the same image created,
// started and waited for alone. Everything else of the platform is measured by run-overhead.
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { createDockerRunner, nodeOf } from '#activities/runners/docker/docker-runner.ts';
import { createNetworks } from '#activities/runners/docker/networks/networks.ts';
import { findPython } from '#activities/runners/find-python.ts';
import type { Runner, StageSpec } from '#activities/runners/runner.ts';
import { ensureStageUser } from '#activities/runners/stage-user.ts';
import type { Network } from '#core/project.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';

const warmUps = 2;
const rounds = Number(process.env['ASSAY_BENCH_ROUNDS'] ?? 15);
const roomyLimits = { memoryBytes: null, cpus: null, pids: 500, fileBytes: null, logBytes: 1_000_000 };

let launches = 0;

async function specIn(dir: string, network: Network): Promise<StageSpec> {
  launches += 1;
  const name = `bench-${process.pid}.step.${launches}`;
  const root = join(dir, name);
  const workDir = join(root, 'work');
  await mkdir(workDir, { recursive: true });
  return {
    name,
    command: ['/bin/true'],
    image: testBaseImage,
    variables: {},
    files: { root, workDir, writable: [workDir] },
    limits: roomyLimits,
    network,
    graceMs: 1_000,
    devices: [],
  };
}

async function ours(runner: Runner, dir: string, network: Network): Promise<number> {
  const spec = await specIn(dir, network);
  const started = performance.now();
  const handle = await runner.start(spec);
  const exit = await handle.wait();
  const spent = performance.now() - started;
  if (exit.code !== 0) throw new Error(`The stage ended as ${JSON.stringify(exit)}.`);
  await handle.remove();
  return spent;
}

async function alone(docker: Docker, mode: string): Promise<number> {
  let container: Docker.Container | undefined;
  const spent = await timeMs(async () => {
    container = await docker.createContainer({
      Image: testBaseImage,
      Cmd: ['/bin/true'],
      HostConfig: { NetworkMode: mode, LogConfig: { Type: 'none', Config: {} } },
    });
    await container.start();
    await container.wait();
  });
  await container?.remove();
  return spent;
}

const docker = await dockerEngine();
if (docker === null) {
  console.log('containers: skipped: no Docker engine');
} else {
  await withTemporaryDir(async (dir) => {
    await chmod(dir, 0o711);
    printMachine();
    const stateDir = join(dir, 'state');
    const stageUser = await ensureStageUser();
    const node = nodeOf(stateDir);
    const networks = createNetworks({
      docker,
      node,
      stateDir,
      apiUrl: 'http://127.0.0.1:9',
      most: 'open',
      allowed: [],
    });
    const python = await findPython(stageUser);
    const runner = createDockerRunner({ docker, stateDir, python, stageUser, networks });
    try {
      const rows: Comparison[] = [];
      for (const network of ['none', 'open'] as const) {
        const { mode } = await networks.prepare(network);
        for (let n = 0; n < warmUps; n += 1) await ours(runner, dir, network);
        const times = await interleave(rounds, {
          ours: () => ours(runner, dir, network),
          alone: () => alone(docker, mode),
        });
        const what = `trivial stage, network ${network}`;
        rows.push({ what, ours: times.ours, unit: 'ms', against: { name: 'its container alone', value: times.alone } });
        rows.push({ what: `${what}: on top`, ours: times.ours - times.alone, unit: 'ms', aim: '≤ 50 ms' });
      }
      printComparisons(`containers: launch to exit, median of ${rounds}`, rows);
    } finally {
      await networks.close();
    }
  });
}
