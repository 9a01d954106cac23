import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { createDockerRunner, nodeOf } from '#activities/runners/docker/docker-runner.ts';
import { createNetworks, type Networks } from '#activities/runners/docker/networks/networks.ts';
import { findPython } from '#activities/runners/find-python.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { ensureStageUser, type StageUser } from '#activities/runners/stage-user.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { describeRunner } from '#test/activities/runners/runner-contract.ts';

const docker = await dockerEngine();
let base: string;
let python: string;
let stageUser: StageUser | null;
let networks: Networks;

if (docker !== null) {
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'assay-docker-'));
    await chmod(base, 0o711);
    stageUser = await ensureStageUser();
    python = await findPython(stageUser);
    const stateDir = join(base, 'state');
    networks = createNetworks({
      docker,
      node: nodeOf(stateDir),
      stateDir,
      apiUrl: 'http://127.0.0.1:9',
      most: 'open',
      allowed: [],
    });
  });

  afterAll(async () => {
    const runner = open();
    for (const name of await runner.list()) await (await runner.attach(name))?.remove();
    await networks.close();
    await rm(base, { recursive: true, force: true });
  });
}

function open(): Runner {
  if (docker === null) throw new Error('There is no engine.');
  return createDockerRunner({ docker, stateDir: join(base, 'state'), python, stageUser, networks });
}

describe.skipIf(docker === null)('the Docker runner (skipped: no Docker engine)', () => {
  describeRunner('docker', async () => ({
    runner: open(),
    reopen: open,
    scratch: base,
    python: '/usr/bin/python3',
    image: testBaseImage,
  }));
});
