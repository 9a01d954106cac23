import { execFile, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerRunner } from '#activities/runners/docker/docker-runner.ts';
import { connectDocker } from '#activities/runners/docker/engine.ts';
import { findPython } from '#activities/runners/find-python.ts';
import { ensureStageUser } from '#activities/runners/stage-user.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { logOf, type SpecChanges, specFor } from '#test/activities/runners/runner-contract.ts';
import { until } from '#test/activities/runners/until.ts';
import { createRunnerOfTest, type RunnerOfTest } from './runner-of-test.ts';

const run = promisify(execFile);
const docker = await dockerEngine();
let under: RunnerOfTest;

const spec = (command: string[], changes: SpecChanges = {}) =>
  specFor(under.base, command, { image: testBaseImage, network: 'none', ...changes });

const carrierOf = async (name: string): Promise<number> =>
  (JSON.parse(await readFile(join(under.stateDir, name, 'state/supervisor.json'), 'utf8')) as { pid: number }).pid;

/** A runner whose engine is not there. */
async function withEngineAt(socket: string): Promise<Runner> {
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser);
  const { networks, stateDir } = under;
  return createDockerRunner({ docker: connectDocker(`unix://${socket}`), stateDir, python, stageUser, networks });
}

describe.skipIf(docker === null)('a stage in a container (skipped: no Docker engine)', () => {
  beforeAll(async () => {
    if (docker !== null) under = await createRunnerOfTest(docker);
  });

  afterAll(() => under.close());

  it('outlives the worker that started it', async () => {
    const wanted = await spec(['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.02; done; echo done; exit 5']);
    const worker = join(under.base, 'worker.mjs');
    const modules = ['docker-runner.ts', 'engine.ts'].map((name) =>
      JSON.stringify(new URL(`../../../../activities/runners/docker/${name}`, import.meta.url).href),
    );
    const stageUser = await ensureStageUser();
    const options = { stateDir: under.stateDir, python: await findPython(stageUser), stageUser };
    await writeFile(
      worker,
      `const { createDockerRunner } = await import(${modules[0]});
       const { connectDocker } = await import(${modules[1]});
       const networks = { prepare: async () => ({ mode: 'none', dns: [] }) };
       const docker = connectDocker('unix:///var/run/docker.sock');
       await createDockerRunner({ ...${JSON.stringify(options)}, docker, networks }).start(${JSON.stringify(wanted)});
       process.kill(process.pid, 'SIGKILL');`,
    );
    const child = spawn(process.execPath, [worker], { stdio: 'inherit' });
    await new Promise((resolve) => child.once('exit', resolve));
    const handle = await under.reopen().attach(wanted.name);
    await mkdir(join(wanted.files.workDir, 'go'));
    expect(await handle?.wait()).toMatchObject({ reason: 'exited', code: 5 });
    expect(handle && (await logOf(handle))).toBe('done\n');
  });

  it('loses nothing of its output when the carrier of its log is killed', async () => {
    const command = ['/bin/sh', '-c', 'echo before; while [ ! -e go ]; do sleep 0.02; done; seq 1 100000; echo last'];
    const wanted = await spec(command);
    const handle = await under.runner.start(wanted);
    await until(async () => (await logOf(handle)) === 'before\n');
    const carrier = await carrierOf(wanted.name);
    const waiting = handle.wait();
    process.kill(carrier, 'SIGKILL');
    await until(() => !existsSync(`/proc/${carrier}`));
    await mkdir(join(wanted.files.workDir, 'go'));
    expect(await waiting).toMatchObject({ reason: 'exited', code: 0 });
    const lines = (await logOf(handle)).split('\n');
    expect(lines.filter((line) => /^\d+$/.test(line))).toEqual(
      Array.from({ length: 100_000 }, (_, n) => String(n + 1)),
    );
    expect(lines.slice(0, 3).join()).toContain('[assay] The carrier of this log ended and another goes on');
    expect(lines.at(-2)).toBe('last');
  });

  it('ends when its variables were lost with its carrier, which is never the fault of its code', async () => {
    const launches = await Promise.all([0, 1, 2].map(async () => await spec(['/bin/sh', '-c', 'echo ran'])));
    for (const wanted of launches) {
      const handle = await under.runner.start(wanted);
      try {
        process.kill(await carrierOf(wanted.name), 'SIGKILL');
      } catch (error) {
        // It had carried everything already.
        expect((error as NodeJS.ErrnoException).code).toBe('ESRCH');
      }
      const { reason, code } = await handle.wait();
      const ran = (await logOf(handle)).includes('ran\n');
      expect([reason, code, ran]).toEqual(ran ? ['exited', 0, true] : ['vanished', null, false]);
    }
  });

  it('ends only once somebody carries its output, when worker and carrier are both gone', async () => {
    const wanted = await spec(['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.02; done; seq 1 5000; echo > ended']);
    await under.runner.start(wanted);
    await until(() => !existsSync(join(under.stateDir, wanted.name, 'io/variables')));
    const carrier = await carrierOf(wanted.name);
    process.kill(carrier, 'SIGKILL');
    await until(() => !existsSync(`/proc/${carrier}`));
    await mkdir(join(wanted.files.workDir, 'go'));
    await until(() => existsSync(join(wanted.files.workDir, 'ended')));
    // Longer than the entrypoint waits for helpers of the command.
    await sleep(1_000);
    expect((await docker?.getContainer(wanted.name).inspect())?.State.Running).toBe(true);
    const handle = await under.reopen().attach(wanted.name);
    expect(await handle?.wait()).toMatchObject({ reason: 'exited', code: 0 });
    const lines = handle === null ? [] : (await logOf(handle)).split('\n').filter((line) => /^\d+$/.test(line));
    expect(lines).toHaveLength(5_000);
  });

  it('that somebody kills or removes has vanished, which is never the fault of its code', async () => {
    const killed = await under.start(['/bin/sleep', '60']);
    const removed = await under.start(['/bin/sleep', '60']);
    const waiting = Promise.all([killed.wait(), removed.wait()]);
    await docker?.getContainer(killed.name).kill();
    await docker?.getContainer(removed.name).remove({ force: true });
    const [first, second] = await waiting;
    expect(first).toMatchObject({ reason: 'vanished', code: null, detail: expect.stringContaining('code 137') });
    expect(second).toMatchObject({ reason: 'vanished', code: null, detail: expect.stringContaining('removed it') });
    expect(await (await under.reopen().attach(removed.name))?.wait()).toEqual(second);
  });

  it('has vanished when its worker died before the container started, and the container is gone', async () => {
    if (docker === null) return;
    const wanted = await spec(['/bin/true']);
    const directory = join(under.stateDir, wanted.name);
    await mkdir(join(directory, 'state'), { recursive: true });
    await writeFile(join(directory, 'state/launch.json'), '{"graceMs":1}');
    const dead = { pid: process.pid, processStart: '1', bootId: 'another' };
    await writeFile(join(directory, 'state/starting.json'), JSON.stringify(dead));
    await docker.createContainer({ name: wanted.name, Image: testBaseImage, Labels: { 'org.assay.node': under.node } });
    const handle = await under.runner.attach(wanted.name);
    expect(await handle?.wait()).toMatchObject({ reason: 'vanished' });
    await expect(docker.getContainer(wanted.name).inspect()).rejects.toMatchObject({ statusCode: 404 });
  });

  it('is found by its label when its directory is lost, and removed', async () => {
    const handle = await under.start(['/bin/sleep', '60']);
    process.kill(await carrierOf(handle.name), 'SIGKILL');
    await rm(join(under.stateDir, handle.name), { recursive: true });
    expect(await under.runner.list()).toContain(handle.name);
    const adopted = await under.reopen().attach(handle.name);
    expect(await adopted?.wait()).toMatchObject({ reason: 'vanished' });
    await adopted?.remove();
    expect(await under.runner.list()).not.toContain(handle.name);
  });

  it('has its variables neither on the disk of the node nor in the words of the engine', async () => {
    const variables = { TOKEN: 'hunter2\'\n$(hunter2)"`', EMPTY: '' };
    const code = 'import json, os; print(json.dumps({name: os.environ[name] for name in ("TOKEN", "EMPTY")}))';
    const handle = await under.python(code, { variables });
    expect(await handle.wait()).toMatchObject({ code: 0 });
    expect(JSON.parse(await logOf(handle))).toEqual(variables);
    const info = await docker?.getContainer(handle.name).inspect();
    expect(JSON.stringify(info)).not.toContain('hunter2');
    const places = [join(under.stateDir, handle.name), info?.ResolvConfPath.replace(/\/[^/]*$/, '') ?? ''];
    await rm(join(under.stateDir, handle.name, 'log'));
    const found = await run('grep', ['-rl', 'hunter2', ...places.filter((path) => existsSync(path))]).catch(
      (error: { code: number; stdout: string }) => error,
    );
    expect(found.stdout).toBe('');
  });

  it('can be interrupted by its own processes, as anywhere else', async () => {
    const handle = await under.python('import os, signal; os.kill(os.getpid(), signal.SIGINT)');
    await handle.wait();
    expect(await logOf(handle)).toContain('KeyboardInterrupt');
  });

  it('sees the ids of the devices it was given as the engine numbers them', async () => {
    const refused = under.start(['/bin/true'], { devices: ['3'] });
    await expect(refused).rejects.toThrow(/asks for a GPU.*NVIDIA Container Toolkit/);
  });

  it('is refused without leaving anything when its image is missing or has no shell', async () => {
    if (docker === null) return;
    await expect(under.start(['/bin/true'], { image: null })).rejects.toMatchObject({
      code: 'environment-unsupported',
    });
    await expect(under.start(['/bin/true'], { image: `no/such@sha256:${'0'.repeat(64)}` })).rejects.toThrow(
      'is not on this node any more',
    );
    const bare = `assay-test-bare-${process.pid}`;
    const archive = join(under.base, 'bare.tar');
    await run('tar', ['-cf', archive, '-C', under.base, '--files-from', '/dev/null']);
    await docker.importImage(archive, { repo: bare, tag: 'x' });
    await expect(under.start(['/bin/true'], { image: `${bare}:x` })).rejects.toMatchObject({
      code: 'environment-unsupported',
      message: expect.stringContaining('has no /bin/sh'),
    });
    await docker.getImage(`${bare}:x`).remove();
    const containers = await docker.listContainers({ all: true, filters: { label: [`org.assay.node=${under.node}`] } });
    expect(containers.filter(({ Image }) => Image.startsWith(bare))).toEqual([]);
  });

  it('is trouble of the node, in one sentence, when the engine is not there or may not be used', async () => {
    const gone = await withEngineAt(join(under.base, 'no.sock'));
    const wanted = await spec(['/bin/true']);
    await expect(gone.start(wanted)).rejects.toThrow(/Docker engine of this node does not answer.*Is it running/);
    expect(await gone.attach('never.started.7')).toBeNull();
    // Nobody knows what became of it, so the name stays held until an engine can tell.
    expect(await gone.list()).toContain(wanted.name);
    expect(await (await under.runner.attach(wanted.name))?.wait()).toMatchObject({ reason: 'vanished' });
  });

  it('is waited for while the engine hangs up on every question', async () => {
    const handle = await under.start(['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.02; done; exit 6']);
    const socket = join(under.base, 'rude.sock');
    const rude = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => rude.listen(socket, resolve));
    const waiting = (await (await withEngineAt(socket)).attach(handle.name))?.wait();
    await mkdir(join(under.base, handle.name, 'work', 'go'));
    await handle.wait();
    rude.close();
    expect(await waiting).toMatchObject({ reason: 'exited', code: 6 });
  });

  it('is tidied up after: networks of homes that are gone go, those of others stay', async () => {
    if (docker === null) return;
    const names = ['gone', 'here'].map((what) => `assay-test-${what}-${process.pid}`);
    const homes = [join(under.base, 'no-such-home'), under.base];
    for (const [n, Name] of names.entries()) {
      await docker.createNetwork({ Name, Labels: { 'org.assay.home': homes[n] ?? '' } });
    }
    await under.runner.tidy();
    const left = (await docker.listNetworks()).map(({ Name }) => Name).filter((name) => names.includes(name));
    await docker.getNetwork(names[1] ?? '').remove();
    expect(left).toEqual([names[1]]);
  });

  it('leaves no volume behind that its image declared', async () => {
    if (docker === null) return;
    const volumes = async () => ((await docker.listVolumes()).Volumes ?? []).map(({ Name }) => Name).toSorted();
    const before = await volumes();
    const made = await docker.createContainer({ Image: testBaseImage, Cmd: ['/bin/true'] });
    const tag = `assay-test-volume-${process.pid}`;
    await made.commit({ repo: tag, changes: 'VOLUME /data' });
    await made.remove();
    const handle = await under.start(['/bin/sh', '-c', 'test -d /data'], { image: tag });
    expect(await handle.wait()).toMatchObject({ code: 0 });
    await handle.remove();
    await docker.getImage(tag).remove();
    expect(await volumes()).toEqual(before);
  });
});
