import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPython } from '#activities/runners/find-python.ts';
import { createProcessRunner } from '#activities/runners/process.ts';
import type { Runner, StageHandle } from '#activities/runners/runner.ts';
import { ensureStageUser, type StageUser } from '#activities/runners/stage-user.ts';
import { describeRunner, logOf, type SpecChanges, specFor } from './runner-contract.ts';
import { until } from './until.ts';

let base: string;
let python: string;
let stageUser: StageUser | null;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'assay-runner-'));
  await chmod(base, 0o755);
  stageUser = await ensureStageUser();
  python = await findPython(stageUser);
});

afterAll(async () => {
  const runner = open();
  for (const name of await runner.list()) await (await runner.attach(name))?.remove();
  await rm(base, { recursive: true, force: true });
});

const open = (cgroups = true): Runner =>
  createProcessRunner({ stateDir: join(base, 'state'), python, stageUser, cgroups });

async function start(command: string[], changes: SpecChanges = {}, runner = open()) {
  const spec = await specFor(base, command, changes);
  return { spec, handle: await runner.start(spec) };
}

interface SupervisorFile {
  pid: number;
  cgroups: Record<string, string>;
}

async function supervisorOf(handle: StageHandle): Promise<SupervisorFile> {
  return JSON.parse(
    await readFile(join(base, 'state', handle.name, 'state/supervisor.json'), 'utf8'),
  ) as SupervisorFile;
}

// A zombie has ended: it only waits for the system's init to take notice.
async function isRunning(pid: number): Promise<boolean> {
  const listed = promisify(execFile)('ps', ['-o', 'stat=', '-p', String(pid)]);
  const state = await listed.then(({ stdout }) => stdout.trim()).catch(() => '');
  return state !== '' && !state.startsWith('Z');
}

async function writtenPid(path: string): Promise<number> {
  await until(() => existsSync(path));
  await until(async () => (await readFile(path, 'utf8')).endsWith('\n'));
  return Number(await readFile(path, 'utf8'));
}

const kernels = [
  ['with control groups where the system has them', true],
  ['by watching', false],
] as const;

for (const [how, cgroups] of kernels) {
  describeRunner(`process, ${how}`, async () => ({
    runner: open(cgroups),
    reopen: () => open(cgroups),
    scratch: base,
    python,
    image: null,
    network: 'open',
  }));
}

describe('the process runner', () => {
  it('refuses a network it cannot enforce', async () => {
    const refused = start(['/bin/true'], { network: 'none' });
    await expect(refused).rejects.toMatchObject({ code: 'network-not-enforceable' });
  });

  it('refuses a name that is not one of a launch', async () => {
    await expect(start(['/bin/true'], { name: '../elsewhere' })).rejects.toMatchObject({ code: 'invalid-request' });
    await expect(open().attach('..')).rejects.toMatchObject({ code: 'invalid-request' });
  });

  it('says what is wrong when the stage cannot enter its work directory', async () => {
    const spec = await specFor(base, ['/bin/true']);
    const handle = await open().start({ ...spec, files: { ...spec.files, workDir: join(base, 'missing') } });
    const exit = await handle.wait();
    expect(exit).toMatchObject({ reason: 'launch-failed', code: null });
    expect(exit.detail).toContain('missing');
  });

  it('reports a Python that does not start and may start the name again afterwards', async () => {
    const broken = createProcessRunner({ stateDir: join(base, 'state'), python: '/bin/false', stageUser });
    const spec = await specFor(base, ['/bin/true']);
    await expect(broken.start(spec)).rejects.toThrow('did not start');
    const missing = createProcessRunner({ stateDir: join(base, 'state'), python: '/no/python', stageUser });
    await expect(missing.start(spec)).rejects.toThrow('ENOENT');
    const handle = await open().start(spec);
    expect(await handle.wait()).toMatchObject({ code: 0 });
  });

  it('outlives the worker that started the stage', async () => {
    const spec = await specFor(base, ['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.02; done; exit 5']);
    const worker = join(base, 'worker.mjs');
    const module = new URL('../../../activities/runners/process.ts', import.meta.url).href;
    const options = { stateDir: join(base, 'state'), python, stageUser };
    await writeFile(
      worker,
      `const { createProcessRunner } = await import(${JSON.stringify(module)});
       await createProcessRunner(${JSON.stringify(options)}).start(${JSON.stringify(spec)});
       process.kill(process.pid, 'SIGKILL');`,
    );
    const child = spawn(process.execPath, [worker], { stdio: 'inherit' });
    await new Promise((resolve) => child.once('exit', resolve));
    const handle = await open().attach(spec.name);
    await mkdir(join(spec.files.workDir, 'go'));
    expect(await handle?.wait()).toMatchObject({ reason: 'exited', code: 5 });
  });

  it('reports a killed supervisor as vanished and kills every process it left', async () => {
    const command = [
      '/bin/sh',
      '-c',
      'setsid sh -c "echo \\$\\$ > orphan; exec sleep 300" & echo $$ > main; exec sleep 300',
    ];
    for (const cgroups of [true, false]) {
      const { spec, handle } = await start(command, {}, open(cgroups));
      const pids = await Promise.all(['main', 'orphan'].map((file) => writtenPid(join(spec.files.workDir, file))));
      const waiting = handle.wait();
      const supervisor = await supervisorOf(handle);
      process.kill(supervisor.pid, 'SIGKILL');
      expect(await waiting).toMatchObject({ reason: 'vanished', code: null });
      expect(await Promise.all(pids.map(isRunning))).toEqual([false, false]);
      expect(Object.values(supervisor.cgroups).filter((path) => existsSync(path))).toEqual([]);
      expect(await (await open().attach(spec.name))?.wait()).toEqual(await handle.wait());
    }
  });

  it('buries a launch that its worker never got to start, when it is old enough', async () => {
    const directory = join(base, 'state', 'half.done.1');
    await mkdir(directory, { recursive: true });
    await promisify(execFile)('touch', ['-d', '1 minute ago', directory]);
    expect(await (await open().attach('half.done.1'))?.wait()).toMatchObject({ reason: 'vanished' });
  });

  it('takes a supervisor of an earlier boot for dead, whoever has its pid now', async () => {
    const state = join(base, 'state', 'earlier.boot.1', 'state');
    await mkdir(state, { recursive: true });
    const claim = { pid: process.pid, processStart: '1', bootId: 'another', startedAt: new Date(0).toISOString() };
    await writeFile(join(state, 'supervisor.json'), JSON.stringify({ ...claim, cgroups: {}, unified: false }));
    const handle = await open().attach('earlier.boot.1');
    expect(await handle?.wait()).toMatchObject({ reason: 'vanished', startedAt: claim.startedAt });
  });

  it('stops a stage that forks without end, and nothing of it stays', async () => {
    const bomb = `
import os, time
with open("marker", "w") as file: file.write(str(os.getpid()))
for _ in range(100):
    try:
        if os.fork() == 0: time.sleep(60)
    except BlockingIOError: break
time.sleep(5)
`;
    const { handle } = await start([python, '-c', bomb], { limits: { pids: 20 }, graceMs: 0 }, open(false));
    const exit = await handle.wait();
    expect(exit.reason).toBe('signalled');
    expect(exit.detail).toContain('its limit is 20');
    expect(await marked(handle.name)).toEqual([]);
  });

  it('does not take memory that forked workers share for memory over the limit', async () => {
    const share = `
import os, time
data = bytearray(60_000_000)
children = []
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.8)
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
`;
    const { handle } = await start([python, '-c', share], { limits: { memoryBytes: 150_000_000 } }, open(false));
    expect(await handle.wait()).toMatchObject({ reason: 'exited', code: 0, outOfMemory: false });
  });

  it('counts the memory of all processes of the stage together', async () => {
    const spread = `
import os, time
for _ in range(4):
    if os.fork() == 0:
        hoard = bytearray(60_000_000)
        time.sleep(60)
time.sleep(60)
`;
    for (const cgroups of [true, false]) {
      const { handle } = await start([python, '-c', spread], { limits: { memoryBytes: 150_000_000 } }, open(cgroups));
      expect(await handle.wait()).toMatchObject({ reason: 'out-of-memory' });
    }
  });

  it('stores nothing of the variables on disk', async () => {
    const { handle } = await start(['/bin/sh', '-c', 'test -n "$TOKEN"'], { variables: { TOKEN: 'hunter2-hunter2' } });
    expect(await handle.wait()).toMatchObject({ code: 0 });
    const directory = join(base, 'state', handle.name);
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const contents = await Promise.all(files.map((path) => readFile(path, 'utf8')));
    expect(contents.length).toBeGreaterThan(2);
    expect(contents.join('')).not.toContain('hunter2');
  });

  it.runIf(process.getuid?.() === 0)('keeps its own files out of reach of the stage', async () => {
    const command = [
      '/bin/sh',
      '-c',
      `! ls ${join(base, 'state')} && ! cat /etc/shadow && grep NoNewPrivs /proc/self/status`,
    ];
    const { handle } = await start(command);
    expect(await handle.wait()).toMatchObject({ code: 0 });
    expect(await logOf(handle)).toMatch(/NoNewPrivs:\s+1/);
  });
});

async function marked(name: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(`ASSAY_LAUNCH=${name}`)) found.push(pid);
  }
  return found;
}
