// Runs stages in containers of the machine's Docker engine. Needs Linux: pipes and directories are shared with the engine.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { DomainError } from '#core/errors.ts';
import {
  forgetLaunchDirectory,
  hasLaunchDirectory,
  listLaunchDirectories,
  makeLaunchDirectory,
  requireRunnable,
} from '#activities/runners/launch-directory.ts';
import { requireLaunchName } from '#activities/runners/launch-name.ts';
import { type Launch, readExit, readLog, readStats } from '#activities/runners/launch-state.ts';
import type { Runner, StageHandle, StageSpec } from '#activities/runners/runner.ts';
import type { StageUser } from '#activities/runners/stage-user.ts';
import { keepCarried, startCarrier, stopCarrier } from './carrier.ts';
import { containerOptions, labels, temporaryOf } from './container-options.ts';
import { ask, hasStatus, isAway, orNull } from './engine.ts';
import { makeFolders, noteStart, noteStarted, readGraceMs, readStop, writeStop } from './launch-files.ts';
import { explainStart } from './start-failure.ts';
import type { Networks } from './networks/networks.ts';
import { waitForContainer } from './wait-for-container.ts';

export interface DockerRunnerOptions {
  docker: Docker;
  /** One directory per launch is kept here. Shared by all workers of the node that may adopt each other's stages. */
  stateDir: string;
  python: string;
  /** From `ensureStageUser`: null for a worker that is not root, whose containers run as its own user. */
  stageUser: StageUser | null;
  networks: Networks;
}

/** How long a removal waits for an engine that is away before it leaves the rest to whoever tries again. */
const removalMs = 30_000;
const pruneMs = 300_000;

export function createDockerRunner(options: DockerRunnerOptions): Runner {
  const { stateDir, networks } = options;
  const parts = { ...options, node: nodeOf(stateDir), cacheDir: join(stateDir, '.python') };
  return {
    kind: 'docker',
    async start(spec) {
      requireRunnable(spec);
      const launch = { name: spec.name, directory: join(stateDir, spec.name) };
      if (await makeLaunchDirectory(launch)) await launchOrForget(parts, launch, spec);
      return createHandle(parts, launch);
    },
    async attach(name) {
      requireLaunchName(name);
      const launch = { name, directory: join(stateDir, name) };
      if (!(await hasLaunchDirectory(launch)) && !(await adoptOrphan(parts, launch))) return null;
      if (!(await readExit(launch))) await keepCarried(parts, launch);
      return createHandle(parts, launch);
    },
    async list() {
      const names = await Promise.all([listLaunchDirectories(stateDir), listContainers(parts)]);
      return [...new Set(names.flat())];
    },
    apiUrl: (network) => networks.apiUrl(network),
    async tidy() {
      await networks.tidy();
      await pruneImages(options.docker);
    },
    close: () => networks.close(),
  };
}

interface Parts extends DockerRunnerOptions {
  node: string;
  cacheDir: string;
}

/** Images of ours that lost their name and that nothing uses; young ones may be parts of a build that goes on. */
async function pruneImages(docker: Docker): Promise<void> {
  const filters = { dangling: { true: true }, label: { [labels.image]: true }, until: { '24h': true } };
  await ask(() => docker.pruneImages({ filters }), pruneMs);
}

/** Whose containers these are, among those of other homes on the same engine. */
export function nodeOf(stateDir: string): string {
  return createHash('sha256').update(stateDir).digest('hex').slice(0, 12);
}

/** A start that failed may be tried again under the same name, unless the engine is away and nobody knows. */
async function launchOrForget(parts: Parts, launch: Launch, spec: StageSpec): Promise<void> {
  try {
    await begin(parts, launch, spec);
  } catch (error) {
    const failure = explainStart(error, spec);
    try {
      await removeContainer(parts, launch);
      await stopCarrier(launch);
      await forgetLaunchDirectory(launch);
    } catch (trouble) {
      await noteStarted(launch);
      if (!isAway(trouble)) throw new AggregateError([failure, trouble], failure.message);
    }
    throw failure;
  }
}

async function begin(parts: Parts, launch: Launch, spec: StageSpec): Promise<void> {
  const { docker, node, stageUser } = parts;
  if (spec.image === null) {
    throw new DomainError(
      'environment-unsupported',
      `${spec.name} has no image, and this node runs stages in containers.`,
    );
  }
  const { image } = spec;
  const user = stageUser ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  await Promise.all([noteStart(launch, spec.graceMs), makeFolders(launch, temporaryOf(spec), user)]);
  const create = async () => {
    const network = await parts.networks.prepare(spec.network);
    await ask(() => docker.createContainer(containerOptions(spec, launch, { image, node, user, network })));
  };
  // Both come to rest before either is given up: what is under way then would be left behind.
  const made = await Promise.allSettled([
    startCarrier(parts, launch, spec, variablesOf(parts, spec), stageUser),
    create(),
  ]);
  for (const each of made) if (each.status === 'rejected') throw each.reason;
  await ask(() => docker.getContainer(spec.name).start());
  await noteStarted(launch);
}

function variablesOf({ stageUser }: Parts, spec: StageSpec): Record<string, string> {
  const user = stageUser?.name ?? 'assay-stage';
  const given = { HOME: spec.files.root, LANG: 'C.UTF-8', USER: user, LOGNAME: user, ...spec.variables };
  // The engine shows the devices that were asked for, and those alone, numbered from 0.
  const visible = spec.devices.map((_, n) => n).join(',');
  return { ...given, ...(visible && { CUDA_VISIBLE_DEVICES: visible }), ASSAY_LAUNCH: spec.name };
}

/** Ours by their label, also where their directory is gone. An engine that is away has none to tell. */
async function listContainers({ docker, node }: Parts): Promise<string[]> {
  try {
    const filters = { label: [`${labels.node}=${node}`] };
    const found = await ask(() => docker.listContainers({ all: true, filters }));
    return found.flatMap(({ Labels }) => Labels[labels.launch] ?? []);
  } catch (error) {
    if (isAway(error)) return [];
    throw error;
  }
}

/** A container whose directory is gone has no log and no past: it is stopped, and its exit will be `vanished`. */
async function adoptOrphan(parts: Parts, launch: Launch): Promise<boolean> {
  if (!(await listContainers(parts)).includes(launch.name)) return false;
  await makeLaunchDirectory(launch);
  await noteStart(launch, 0);
  await noteStarted(launch);
  await removeContainer(parts, launch);
  return true;
}

async function removeContainer({ docker, node }: Parts, { name }: Launch): Promise<void> {
  const container = docker.getContainer(name);
  const info = await orNull(ask(() => container.inspect()));
  if (info === null || info.Config.Labels[labels.node] !== node) return;
  try {
    await ask(() => container.remove({ force: true, v: true }));
  } catch (error) {
    // Gone, or on its way to be gone by somebody else's request.
    if (!hasStatus(error, 404, 409)) throw error;
  }
}

function createHandle(parts: Parts, launch: Launch): StageHandle {
  const { docker } = parts;
  const container = docker.getContainer(launch.name);
  const wait: StageHandle['wait'] = (abort) => waitForContainer({ docker, python: parts }, launch, abort);
  const signal: StageHandle['signal'] = async (kind) => {
    if (await readExit(launch)) return;
    const before = await readStop(launch);
    const killAtMs = kind === 'kill' ? Date.now() : Date.now() + (await readGraceMs(launch));
    if (before === null || killAtMs < before.killAtMs) await writeStop(launch, { killAtMs });
    if (kind === 'terminate' && before !== null) return;
    try {
      await ask(() => container.kill({ signal: kind === 'kill' ? 'SIGKILL' : 'SIGTERM' }));
    } catch (error) {
      // Not running, or not yet; what is noted is done by whoever waits, also once an engine that is away comes back.
      if (!hasStatus(error, 404, 409) && !isAway(error)) throw error;
    }
  };
  return {
    name: launch.name,
    wait,
    signal,
    logs: (fromByte, maxBytes) => readLog(launch, fromByte, maxBytes),
    async stats() {
      const kept = await readStats(launch);
      return (await readExit(launch)) ? kept : { ...kept, ...(await consumption(docker, launch.name)) };
    },
    async remove() {
      if (!(await hasLaunchDirectory(launch))) return;
      if (!(await readExit(launch))) {
        await signal('kill');
        await wait(AbortSignal.timeout(removalMs));
      }
      await removeContainer(parts, launch);
      await stopCarrier(launch);
      await forgetLaunchDirectory(launch);
    },
  };
}

async function consumption(docker: Docker, name: string): Promise<{ memoryBytes?: number; cpuSeconds?: number }> {
  try {
    const sample = await ask(() => docker.getContainer(name).stats({ stream: false, 'one-shot': true }));
    const { stats = {} } = sample.memory_stats as { stats?: Record<string, number> };
    const memoryBytes = stats.anon ?? stats.total_rss;
    const shared = stats.anon === undefined ? stats.total_shmem : stats.shmem;
    if (memoryBytes === undefined) return {};
    return { memoryBytes: memoryBytes + (shared ?? 0), cpuSeconds: sample.cpu_stats.cpu_usage.total_usage / 1e9 };
  } catch (error) {
    // A sample: there is none of a container that is gone or not there yet, nor from an engine that is away.
    if (hasStatus(error, 404, 409) || isAway(error)) return {};
    throw error;
  }
}
