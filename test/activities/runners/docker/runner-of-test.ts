// A Docker runner over a directory of its own, on the machine's engine.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { createDockerRunner, nodeOf } from '#activities/runners/docker/docker-runner.ts';
import { createNetworks, type Networks, type NetworksOptions } from '#activities/runners/docker/networks/networks.ts';
import { findPython } from '#activities/runners/find-python.ts';
import type { Runner, StageHandle } from '#activities/runners/runner.ts';
import { ensureStageUser } from '#activities/runners/stage-user.ts';
import { testBaseImage } from '#test/support/docker.ts';
import { type SpecChanges, specFor } from '#test/activities/runners/runner-contract.ts';

export interface RunnerOfTest {
  /** Where stages may have their files. */
  base: string;
  stateDir: string;
  node: string;
  networks: Networks;
  runner: Runner;
  /** A second runner over the same state, as a restarted worker would build it. */
  reopen: () => Runner;
  start(command: string[], changes?: SpecChanges): Promise<StageHandle>;
  python(code: string, changes?: SpecChanges): Promise<StageHandle>;
  close(): Promise<void>;
}

export async function createRunnerOfTest(
  docker: Docker,
  settings: Partial<NetworksOptions> = {},
): Promise<RunnerOfTest> {
  const base = await mkdtemp(join(tmpdir(), 'assay-docker-'));
  await chmod(base, 0o711);
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser);
  const stateDir = join(base, 'state');
  const node = nodeOf(stateDir);
  const given = { docker, node, stateDir, apiUrl: 'http://127.0.0.1:9', most: 'open' as const, allowed: [] };
  const networks = createNetworks({ ...given, ...settings });
  const reopen = () => createDockerRunner({ docker, stateDir, python, stageUser, networks });
  const runner = reopen();
  const start: RunnerOfTest['start'] = async (command, changes = {}) =>
    runner.start(await specFor(base, command, { image: testBaseImage, network: 'none', ...changes }));
  return {
    base,
    stateDir,
    node,
    networks,
    runner,
    reopen,
    start,
    python: (code, changes) => start(['/usr/bin/python3', '-c', code], changes),
    async close() {
      for (const name of await runner.list()) await (await runner.attach(name))?.remove();
      await runner.close();
      await rm(base, { recursive: true, force: true });
    },
  };
}
