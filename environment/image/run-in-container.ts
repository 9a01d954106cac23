// A program that may run code of packages, in a container of its own: not root, without capabilities, bounded, and with
// nothing of this machine but the folders it works on.
import { createHash, randomBytes } from 'node:crypto';
import { relative } from 'node:path';
import { PassThrough } from 'node:stream';
import type Docker from 'dockerode';
import { collect, type CommandOptions, type CommandResult } from '#environment/process/command.ts';
import type { Base } from './base.ts';
import { buildNetwork } from './build-network.ts';
import { containerVariables } from './container-variables.ts';
import {
  asking,
  buildContainerPrefix,
  buildLabel,
  buildPidsMax,
  buildTimeoutMs,
  diskFull,
  engineFailure,
  engineStatus,
  isFullDisk,
  type ImageSettings,
  memoryExhausted,
} from './engine.ts';

export interface Folders {
  /** Absolute paths that the program may change; each lies where it lies here. */
  writes: readonly string[];
  reads: readonly string[];
}

export interface ContainerCommand extends Pick<CommandOptions, 'cwd' | 'onLine' | 'signal'> {
  images: ImageSettings;
  base: Pick<Base, 'imageId' | 'reference' | 'searchPath'>;
  cacheDir: string;
  user: { uid: number; gid: number };
  env: Readonly<Record<string, string>>;
  folders: Folders;
  /** False has no network at all. */
  network: boolean;
}

/** The name says whose it is: containers of this cache directory whose process is gone are left-overs. */
export function buildContainerName(cacheDir: string): string {
  return `${buildContainerPrefix}${ownerOf(cacheDir)}-${process.pid}-${randomBytes(6).toString('hex')}`;
}

export function ownerOf(cacheDir: string): string {
  return createHash('sha256').update(cacheDir).digest('hex').slice(0, 12);
}

/** As `runCommand`: a non-zero exit is a result. @throws DomainError resources-exhausted for a full disk or memory. */
export async function runInContainer(
  command: ContainerCommand,
  program: string,
  args: readonly string[],
): Promise<CommandResult> {
  const { images, signal } = command;
  signal?.throwIfAborted();
  const doing = `${program.split('/').at(-1)} ran in ${command.base.reference}`;
  const network = command.network ? await buildNetwork(images) : 'none';
  const options = optionsOf(command, program, args, network);
  const container = await asking(doing, () => images.docker.createContainer(options));
  try {
    return await follow(container, command, doing);
  } finally {
    await removeContainer(container);
  }
}

function optionsOf(command: ContainerCommand, program: string, args: readonly string[], network: string) {
  const { base, cacheDir, user, images, cwd } = command;
  const { env, files } = containerVariables(command.env, base.searchPath);
  return {
    name: buildContainerName(cacheDir),
    Labels: { [buildLabel]: ownerOf(cacheDir) },
    Image: base.imageId,
    Entrypoint: [program],
    Cmd: [...args],
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    User: `${user.uid}:${user.gid}`,
    WorkingDir: cwd ?? '/',
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      NetworkMode: network,
      Mounts: mountsOf(command.folders, files),
      Tmpfs: { '/tmp': 'rw,exec,nosuid,nodev,mode=1777' },
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Init: true,
      PidsLimit: buildPidsMax,
      Memory: images.limits.memoryBytes,
      MemorySwap: images.limits.memoryBytes,
      NanoCpus: Math.round(images.limits.cpus * 1e9),
      // What an installation prints is carried to the step's log; the engine keeps none of it.
      LogConfig: { Type: 'none', Config: {} },
    },
  };
}

/** A folder inside another one of the list is there already. */
function mountsOf({ writes, reads }: Folders, files: readonly string[]): Docker.MountConfig {
  const writable = outermost(writes);
  const readable = outermost([...reads, ...files]).filter((path) => !writable.some((one) => isInside(path, one)));
  return [...writable.map((path) => bind(path, false)), ...readable.map((path) => bind(path, true))];
}

function bind(path: string, isReadOnly: boolean): Docker.MountSettings {
  return { Type: 'bind', Source: path, Target: path, ReadOnly: isReadOnly };
}

function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((one) => one !== path && isInside(path, one)));
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way === '' || (way !== '..' && !way.startsWith('../'));
}

async function follow(container: Docker.Container, command: ContainerCommand, doing: string): Promise<CommandResult> {
  const { onLine, signal } = command;
  const timeout = AbortSignal.timeout(buildTimeoutMs);
  const stop = (): void => void removeContainer(container).catch(() => undefined);
  signal?.addEventListener('abort', stop, { once: true });
  timeout.addEventListener('abort', stop, { once: true });
  const out = new PassThrough();
  const err = new PassThrough();
  try {
    // Attached before it starts, so that nothing of its output is missed.
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    container.modem.demuxStream(stream, out, err);
    stream.once('end', () => [out, err].forEach((one) => one.end()));
    stream.once('close', () => [out, err].forEach((one) => one.end()));
    stream.once('error', (error) => [out, err].forEach((one) => one.destroy(error)));
    // A start that is refused is what is reported; the output then ends with the container.
    const texts = Promise.all([collect(out), collect(err, onLine)]);
    texts.catch(() => undefined);
    await container.start();
    const [{ StatusCode: exitCode }, [stdout, stderr]] = await Promise.all([
      container.wait() as Promise<{ StatusCode: number }>,
      texts,
    ]);
    signal?.throwIfAborted();
    if (timeout.aborted) throw new Error(`It took longer than ${buildTimeoutMs / 60_000} minutes.`);
    if (exitCode !== 0) await refuseExhausted(container, command, stderr, doing);
    return { exitCode, stdout, stderr };
  } catch (error) {
    signal?.throwIfAborted();
    throw engineFailure(error, doing);
  } finally {
    signal?.removeEventListener('abort', stop);
    timeout.removeEventListener('abort', stop);
    out.destroy();
    err.destroy();
  }
}

async function refuseExhausted(
  container: Docker.Container,
  { images, base }: ContainerCommand,
  stderr: string,
  doing: string,
): Promise<void> {
  if (isFullDisk(stderr)) throw diskFull(doing);
  const { State } = await container.inspect();
  if (!State.OOMKilled) return;
  throw memoryExhausted(`Installing packages in ${base.reference}`, images.limits.memoryBytes);
}

async function removeContainer(container: Docker.Container): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    // Gone, or being removed by an abort.
    if (![404, 409].includes(engineStatus(error) ?? 0))
      throw engineFailure(error, 'a container of a build was removed');
  }
}
