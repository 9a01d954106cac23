// A Docker engine of a test's own, to be killed and started again, with an image of a shell and little else.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { connectDocker } from '#activities/runners/docker/engine.ts';
import { until } from '#test/activities/runners/until.ts';

const run = promisify(execFile);
const startMs = 60_000;
const programs = ['/bin/sh', '/usr/bin/env', '/usr/bin/sleep', '/usr/bin/true', '/usr/bin/seq'];

export interface OwnEngine {
  docker: Docker;
  image: string;
  /** As the system's own killer would. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

export async function createOwnEngine(liveRestore: boolean): Promise<OwnEngine> {
  const base = await mkdtemp(join(tmpdir(), 'assay-engine-'));
  const socket = join(base, 'docker.sock');
  const docker = connectDocker(`unix://${socket}`);
  let daemon: ChildProcess | null = null;
  // As on a usual system, what holds the containers is a service of its own, and outlives the engine.
  const holder = await startContainerd(base);
  const start = async () => {
    const log = await open(join(base, 'log'), 'a');
    const places = [
      '--data-root',
      join(base, 'data'),
      '--exec-root',
      join(base, 'exec'),
      '--pidfile',
      join(base, 'pid'),
    ];
    const options = [
      '--containerd',
      holder.address,
      '-H',
      `unix://${socket}`,
      '--bridge=none',
      '--iptables=false',
      `--live-restore=${liveRestore}`,
    ];
    // In a network of its own: an engine without a bridge removes that of the machine's engine.
    daemon = spawn('unshare', ['--net', '--', 'dockerd', ...places, ...options], { stdio: ['ignore', log.fd, log.fd] });
    await log.close();
    await until(async () => await docker.ping().then(Boolean, () => false), startMs);
  };
  const stop = async (signal: NodeJS.Signals) => {
    if (daemon === null) return;
    const exit = once(daemon, 'exit');
    daemon.kill(signal);
    await exit;
    daemon = null;
  };
  await start();
  await importShell(docker, base);
  return {
    docker,
    image: 'shell:1',
    start,
    kill: () => stop('SIGKILL'),
    async close() {
      for (const { Id } of await docker.listContainers({ all: true }))
        await docker.getContainer(Id).remove({ force: true });
      await stop('SIGTERM');
      await holder.stop();
      for (const point of await mountsBelow(base)) await run('umount', ['-l', point]);
      await rm(base, { recursive: true, force: true });
    },
  };
}

async function startContainerd(base: string): Promise<{ address: string; stop: () => Promise<void> }> {
  const address = join(base, 'containerd.sock');
  const config = join(base, 'containerd.toml');
  await writeFile(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
  const places = ['--root', join(base, 'containerd'), '--state', join(base, 'containerd-state'), '--address', address];
  const child = spawn('containerd', ['--config', config, ...places], { stdio: 'ignore' });
  await until(() => existsSync(address), startMs);
  const stop = async () => {
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
  };
  return { address, stop };
}

async function importShell(docker: Docker, base: string): Promise<void> {
  const root = join(base, 'root');
  for (const program of programs) {
    const { stdout } = await run('ldd', [program]);
    const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
    for (const path of [program, ...libraries]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await cp(path, join(root, path), { dereference: true });
    }
  }
  await run('tar', ['-cf', join(base, 'root.tar'), '-C', root, '.']);
  await docker.importImage(join(base, 'root.tar'), { repo: 'shell', tag: '1' });
  await until(async () => (await docker.listImages()).length > 0);
}

async function mountsBelow(base: string): Promise<string[]> {
  const lines = (await readFile('/proc/mounts', 'utf8')).split('\n');
  const points = lines.map((line) => line.split(' ')[1] ?? '').filter((point) => point.startsWith(`${base}/`));
  return points.toReversed();
}
