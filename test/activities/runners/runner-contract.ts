import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Runner, StageExit, StageHandle, StageSpec } from '#activities/runners/runner.ts';
import { until } from './until.ts';

export interface RunnerUnderTest {
  runner: Runner;
  /** A second runner over the same state, as a restarted worker would build it. */
  reopen: () => Runner;
  /** An existing directory that stages of this runner can reach. */
  scratch: string;
  /** A Python that stages can execute. */
  python: string;
  /** What stages run in; null where the runner has no images. */
  image: string | null;
  /** One that it can enforce. */
  network: StageSpec['network'];
}

export type SpecChanges = Partial<Omit<StageSpec, 'limits'>> & { limits?: Partial<StageSpec['limits']> };

let launches = 0;

/** A stage with a fresh workspace and roomy limits. */
export async function specFor(scratch: string, command: string[], changes: SpecChanges = {}): Promise<StageSpec> {
  launches += 1;
  const name = `run-${process.pid}.step.${launches}`;
  const root = join(scratch, name);
  const workDir = join(root, 'work');
  await mkdir(workDir, { recursive: true });
  const limits = { memoryBytes: null, cpus: null, pids: 500, fileBytes: null, logBytes: 4_000_000, ...changes.limits };
  const files = { root, workDir, writable: [workDir] };
  const plain = { image: null, variables: {}, network: 'open' as const, graceMs: 1_000, devices: [] };
  return { name, command, files, ...plain, ...changes, limits };
}

export async function logOf(handle: StageHandle): Promise<string> {
  return (await handle.logs(0, 10_000_000)).toString();
}

/** What every runner owes a stage, however hostile. Each implementation runs this suite. */
export function describeRunner(kind: string, open: () => Promise<RunnerUnderTest>): void {
  describe(`the runner contract, ${kind}`, () => {
    const started: StageHandle[] = [];

    async function start(command: string[], changes: SpecChanges = {}) {
      const under = await open();
      const spec = await specFor(under.scratch, command, { image: under.image, network: under.network, ...changes });
      const handle = await under.runner.start(spec);
      started.push(handle);
      return { ...under, spec, handle };
    }

    async function finish(command: string[], changes: SpecChanges = {}) {
      const launched = await start(command, changes);
      return { ...launched, exit: await launched.handle.wait() };
    }

    const python = async (code: string, changes: SpecChanges = {}) =>
      finish([(await open()).python, '-c', code], changes);

    afterEach(async () => {
      for (const handle of started.splice(0)) await handle.remove();
    });

    it('reports success with times, memory and processor time', async () => {
      const { exit } = await python('x = bytearray(50_000_000); sum(range(1_000_000))');
      expect(exit).toMatchObject({ reason: 'exited', code: 0, signal: null, outOfMemory: false, leftoverProcesses: 0 });
      expect(exit.peakMemoryBytes).toBeGreaterThan(50_000_000);
      expect(exit.cpuSeconds).toBeGreaterThan(0);
      expect(Date.parse(exit.finishedAt)).toBeGreaterThanOrEqual(Date.parse(exit.startedAt));
    });

    it('reports the exit code of the command', async () => {
      const { exit } = await finish(['/bin/sh', '-c', 'exit 7']);
      expect(exit).toMatchObject({ reason: 'exited', code: 7, signal: null });
    });

    it('reports the signal that ended the command', async () => {
      const { exit } = await finish(['/bin/sh', '-c', 'kill -SEGV $$']);
      expect(exit).toMatchObject({ reason: 'signalled', code: null, signal: 'SIGSEGV' });
    });

    it('ends with 127 and a line in the log when there is no such command', async () => {
      const { exit, handle } = await finish(['no-such-command']);
      expect(exit).toMatchObject({ reason: 'exited', code: 127 });
      expect(await logOf(handle)).toContain('no-such-command');
    });

    it('succeeds without outputs, which are for the caller to miss', async () => {
      const { exit } = await finish(['/bin/sh', '-c', 'exit 0']);
      expect(exit).toMatchObject({ reason: 'exited', code: 0, logBytes: 0 });
    });

    it('starts in the work directory and lets the stage write there', async () => {
      const { exit, spec } = await finish(['/bin/sh', '-c', 'pwd > where && mkdir made && echo ok > made/file']);
      expect(exit.code).toBe(0);
      expect(await readFile(join(spec.files.workDir, 'made/file'), 'utf8')).toBe('ok\n');
    });

    it('passes the variables it is given and nothing of its own process', async () => {
      process.env.ASSAY_TEST_SECRET = 'do-not-leak';
      try {
        const { handle } = await finish(['/usr/bin/env'], { variables: { GREETING: 'hello there', PATH: '/usr/bin' } });
        const lines = (await logOf(handle)).trim().split('\n');
        expect(lines).toContain('GREETING=hello there');
        expect(lines).toContain('PATH=/usr/bin');
        const allowed = ['ASSAY_LAUNCH', 'GREETING', 'HOME', 'LANG', 'LOGNAME', 'PATH', 'USER', 'HOSTNAME'];
        expect(allowed).toEqual(expect.arrayContaining(lines.map((line) => line.split('=')[0])));
      } finally {
        delete process.env.ASSAY_TEST_SECRET;
      }
    });

    it('is not root and has no terminal input', async () => {
      const { handle } = await finish(['/bin/sh', '-c', 'id -u; cat; echo end']);
      const [user, end] = (await logOf(handle)).split('\n');
      expect(user).not.toBe('0');
      expect(end).toBe('end');
    });

    it('stores both outputs in order and byte for byte', async () => {
      const code = 'import os\nfor i in range(256): os.write(1 + i % 2, bytes([i]))';
      const { handle } = await python(code);
      expect(await handle.logs(0, 1_000)).toEqual(Buffer.from(Array.from({ length: 256 }, (_, at) => at)));
      expect(await handle.logs(250, 3)).toEqual(Buffer.from([250, 251, 252]));
      expect(await handle.logs(256, 10)).toHaveLength(0);
    });

    it('shows output and consumption while the stage runs', async () => {
      const code = 'import time; x = bytearray(30_000_000); print("ready", flush=True); time.sleep(60)';
      const { handle } = await start([(await open()).python, '-c', code]);
      await until(async () => (await logOf(handle)) === 'ready\n');
      await until(async () => (await handle.stats()).memoryBytes > 30_000_000);
      expect((await handle.stats()).logBytes).toBe(6);
    });

    it('keeps the head and the end of a log over its limit, and says what is missing', async () => {
      const total = 200_000_000;
      const command = ['/bin/sh', '-c', `head -c ${total} /dev/zero; echo the last words`];
      const { exit, handle } = await finish(command, { limits: { logBytes: 1_000_000 } });
      expect(exit).toMatchObject({ reason: 'exited', code: 0 });
      expect(exit.logBytes).toBeLessThan(1_001_000);
      expect(exit.logDroppedBytes).toBeGreaterThan(total - 1_000_000);
      const log = await logOf(handle);
      expect(log).toContain('The log reached its limit of 1000000 bytes');
      expect(log).toMatch(/the last words\n$/);
    });

    it('kills what the command leaves behind, in whatever session it hides', async () => {
      const hide = `
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            with open("ticks", "a") as file: file.write("x")
            time.sleep(0.02)
    os._exit(0)
while not os.path.exists("ticks"): time.sleep(0.01)
`;
      const { exit, spec } = await python(hide);
      expect(exit).toMatchObject({ reason: 'exited', code: 0, leftoverProcesses: 1 });
      const ticks = async () => (await stat(join(spec.files.workDir, 'ticks'))).size;
      const atExit = await ticks();
      await finish(['/bin/sh', '-c', 'sleep 0.2']);
      expect(await ticks()).toBe(atExit);
    });

    it('lets a command that handles the request to end finish its work', async () => {
      const { handle } = await start([
        '/bin/sh',
        '-c',
        'trap "echo saved; exit 3" TERM; echo up; while :; do sleep 0.05; done',
      ]);
      await until(async () => (await logOf(handle)).startsWith('up'));
      await handle.signal('terminate');
      expect(await handle.wait()).toMatchObject({ reason: 'exited', code: 3 });
      expect(await logOf(handle)).toContain('saved');
    });

    it('leaves its grace to a command whose shell dies of the request to end', async () => {
      const inner = 'trap "sleep 1; echo saved; exit 3" TERM; echo up; while :; do sleep 0.05; done';
      const { handle } = await start(['/bin/sh', '-c', '/bin/sh -c "$INNER"; true'], {
        graceMs: 20_000,
        variables: { INNER: inner },
      });
      await until(async () => (await logOf(handle)).startsWith('up'));
      const asked = Date.now();
      await handle.signal('terminate');
      expect(await handle.wait()).toMatchObject({ reason: 'signalled', signal: 'SIGTERM' });
      expect(await logOf(handle)).toContain('saved');
      expect(Date.now() - asked).toBeLessThan(15_000);
    });

    it('kills a command that ignores the request to end after the grace', async () => {
      const { handle } = await start(['/bin/sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done']);
      await until(async () => (await logOf(handle)).startsWith('up'));
      const asked = Date.now();
      await handle.signal('terminate');
      expect(await handle.wait()).toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
      expect(Date.now() - asked).toBeGreaterThanOrEqual(950);
    });

    it('kills at once when asked to', async () => {
      const { handle } = await start(['/bin/sh', '-c', 'trap "" TERM; echo up; sleep 60'], { graceMs: 60_000 });
      await until(async () => (await logOf(handle)).startsWith('up'));
      await handle.signal('terminate');
      await handle.signal('kill');
      expect(await handle.wait()).toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
    });

    it('ends a stage over its memory as out of memory', async () => {
      const hoard = 'hoard = []\nwhile True: hoard.append(bytearray(10_000_000))';
      const { exit } = await python(hoard, { limits: { memoryBytes: 150_000_000 } });
      expect(exit).toMatchObject({ reason: 'out-of-memory', outOfMemory: true });
    });

    it('lets a stage write a file far larger than its memory', async () => {
      const command = ['/bin/sh', '-c', 'head -c 300000000 /dev/zero > big && wc -c < big && rm big'];
      const { exit, handle } = await finish(command, { limits: { memoryBytes: 100_000_000 } });
      expect(exit).toMatchObject({ reason: 'exited', code: 0, outOfMemory: false });
      expect(await logOf(handle)).toContain('300000000');
    });

    it('ends a stage that writes a larger file than it may', async () => {
      const { exit, spec } = await finish(['/usr/bin/head', '-c', '3000000', '/dev/zero'], {
        limits: { fileBytes: 1_000_000 },
      });
      expect(exit.code).toBe(0);
      const writing = ['/bin/sh', '-c', 'exec head -c 3000000 /dev/zero > big'];
      const tooLarge = await finish(writing, { limits: { fileBytes: 1_000_000 } });
      expect(tooLarge.exit.code).not.toBe(0);
      expect((await stat(join(tooLarge.spec.files.workDir, 'big'))).size).toBeLessThanOrEqual(1_000_000);
      expect(spec.name).not.toBe(tooLarge.spec.name);
    });

    it('launches a name only once, however often it is started', async () => {
      const { runner, spec, handle } = await start(['/bin/sh', '-c', 'echo once >> count; sleep 0.2']);
      const again = await Promise.all([runner.start(spec), runner.start(spec)]);
      const exits: StageExit[] = await Promise.all([handle, ...again].map((each) => each.wait()));
      expect(new Set(exits.map((exit) => exit.startedAt)).size).toBe(1);
      await runner.start(spec);
      expect(await readFile(join(spec.files.workDir, 'count'), 'utf8')).toBe('once\n');
    });

    it('lets a restarted worker adopt a running stage, its log and its exit', async () => {
      const { reopen, spec } = await start([
        '/bin/sh',
        '-c',
        'echo before; while [ ! -e go ]; do sleep 0.02; done; exit 4',
      ]);
      const successor = reopen();
      expect(await successor.list()).toContain(spec.name);
      const adopted = await successor.attach(spec.name);
      if (!adopted) throw new Error('The stage was not adopted.');
      await until(async () => (await logOf(adopted)) === 'before\n');
      const exit = adopted.wait();
      await mkdir(join(spec.files.workDir, 'go'));
      expect(await exit).toMatchObject({ reason: 'exited', code: 4 });
      expect(await (await reopen().attach(spec.name))?.wait()).toEqual(await exit);
    });

    it('stops waiting when told to and leaves the stage running', async () => {
      const { handle } = await start(['/bin/sh', '-c', 'sleep 60']);
      const abort = new AbortController();
      const waiting = handle.wait(abort.signal);
      abort.abort(new Error('the worker shuts down'));
      await expect(waiting).rejects.toThrow('the worker shuts down');
      await handle.signal('kill');
      expect((await handle.wait()).reason).toBe('signalled');
    });

    it('forgets a removed launch, running or not', async () => {
      const { runner, handle, spec } = await start(['/bin/sh', '-c', 'sleep 60']);
      await handle.remove();
      expect(await runner.attach(spec.name)).toBeNull();
      expect(await runner.list()).not.toContain(spec.name);
      await handle.remove();
    });

    it('does not hold a name that was never started', async () => {
      expect(await (await open()).runner.attach('never.started.1')).toBeNull();
    });
  });
}
