// An engine that is killed while stages run, and comes back.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dockerEngine } from '#test/support/docker.ts';
import { logOf } from '#test/activities/runners/runner-contract.ts';
import { until } from '#test/activities/runners/until.ts';
import { createOwnEngine, type OwnEngine } from './own-engine.ts';
import { createRunnerOfTest, type RunnerOfTest } from './runner-of-test.ts';

// An engine answers where one can be started; starting one takes root.
const canStart = process.getuid?.() === 0 && (await dockerEngine()) !== null;
const command = [
  '/bin/sh',
  '-c',
  'echo before; while [ ! -e go ]; do sleep 0.05; done; seq 1 1000; echo after; exit 9',
];

for (const liveRestore of [false, true]) {
  const how = liveRestore ? 'that keeps its containers' : 'that does not keep its containers';
  describe.skipIf(!canStart)(`an engine ${how} (skipped: no Docker engine, or not root)`, () => {
    let engine: OwnEngine;
    let under: RunnerOfTest;

    beforeAll(async () => {
      engine = await createOwnEngine(liveRestore);
      under = await createRunnerOfTest(engine.docker);
    });

    afterAll(async () => {
      await under.close();
      await engine.close();
    });

    it('is waited for while it is gone, and the end of the stage is the true one', async () => {
      const handle = await under.start(command, { image: engine.image });
      await until(async () => (await logOf(handle)) === 'before\n');
      const waiting = handle.wait();
      let isDone = false;
      void waiting.finally(() => (isDone = true));
      await engine.kill();
      expect(await under.runner.list()).toEqual([handle.name]);
      const adopted = await under.reopen().attach(handle.name);
      if (!adopted) throw new Error('The stage was not adopted.');
      const alsoWaiting = adopted.wait();
      if (liveRestore) {
        // It goes on, and ends, while no engine is there to see it.
        await mkdir(join(under.base, handle.name, 'work', 'go'));
        await until(async () => (await logOf(handle)).endsWith('after\n'));
      }
      expect(isDone).toBe(false);
      await engine.start();
      const exit = await waiting;
      expect(await alsoWaiting).toEqual(exit);
      expect(await (await under.reopen().attach(handle.name))?.wait()).toEqual(exit);
      if (liveRestore) expect(exit).toMatchObject({ reason: 'exited', code: 9, logDroppedBytes: 0 });
      else expect(exit).toMatchObject({ reason: 'vanished', code: null });
      await handle.remove();
    });

    it('that is gone when a stage is to start is trouble of the infrastructure, and no obstacle later', async () => {
      await engine.kill();
      await expect(under.start(['/bin/sh', '-c', 'exit 3'], { image: engine.image })).rejects.toThrow(
        'does not answer',
      );
      await engine.start();
      const handle = await under.start(['/bin/sh', '-c', 'exit 3'], { image: engine.image });
      expect(await handle.wait()).toMatchObject({ reason: 'exited', code: 3 });
    });

    // One that does not keep them stops them by itself, and takes its time.
    it.runIf(liveRestore)('that is gone when a stage is asked to end does not keep it from ending', async () => {
      const handle = await under.start(['/bin/sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done'], {
        image: engine.image,
        graceMs: 500,
      });
      await until(async () => (await logOf(handle)) === 'up\n');
      await engine.kill();
      await handle.signal('terminate');
      const waiting = handle.wait();
      await engine.start();
      expect(await waiting).toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
    });
  });
}
