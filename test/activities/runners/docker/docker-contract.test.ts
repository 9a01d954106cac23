import { afterAll, beforeAll, describe } from 'vitest';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { describeRunner } from '#test/activities/runners/runner-contract.ts';
import { createRunnerOfTest, type RunnerOfTest } from './runner-of-test.ts';

const docker = await dockerEngine();
let under: RunnerOfTest;

describe.skipIf(docker === null)('the Docker runner (skipped: no Docker engine)', () => {
  beforeAll(async () => {
    if (docker !== null) under = await createRunnerOfTest(docker);
  });

  afterAll(() => under.close());

  // Without a network the engine starts a container in half the time; networks have tests of their own.
  describeRunner('docker', async () => ({
    runner: under.runner,
    reopen: under.reopen,
    scratch: under.base,
    python: '/usr/bin/python3',
    image: testBaseImage,
    network: 'none',
  }));
});
