// Runs stages as processes of this node. For trusted code: it bounds and cleans up after a stage, it does not jail it.

import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { isAlive } from './process-identity.ts';
import { isSupervised, type Launch, readExit, readLog, readStats, readSupervisor } from './launch-state.ts';
import type { Runner, StageExit, StageHandle, StageSpec } from './runner.ts';
import type { StageUser } from './stage-user.ts';
import { startSupervisor, type SupervisorOptions, sweepLaunch } from './supervisor.ts';
import { waitForExit } from './wait-for-exit.ts';

export interface ProcessRunnerOptions {
  /** One directory per launch is kept here. Shared by all workers of the node that may adopt each other's stages. */
  stateDir: string;
  python: string;
  /** From `ensureStageUser`: null for a worker that is not root. */
  stageUser: StageUser | null;
  cgroups?: boolean;
}

const launchName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

export function createProcessRunner(options: ProcessRunnerOptions): Runner {
  const { python, stageUser, stateDir } = options;
  const supervisor = { python, stageUser, cgroups: options.cgroups ?? true, cacheDir: join(stateDir, '.python') };
  return {
    kind: 'process',
    async start(spec) {
      requireRunnable(spec);
      const launch = { name: spec.name, directory: join(stateDir, spec.name) };
      if (await isNew(launch)) await launchOrForget(supervisor, launch, spec);
      return createHandle(supervisor, launch);
    },
    async attach(name) {
      requireName(name);
      const launch = { name, directory: join(stateDir, name) };
      if (!(await isHeld(launch))) return null;
      if (!(await readExit(launch)) && !(await isSupervised(launch))) await bury(supervisor, launch);
      return createHandle(supervisor, launch);
    },
    async list() {
      await mkdir(stateDir, { recursive: true, mode: 0o700 });
      return (await readdir(stateDir)).filter((name) => launchName.test(name));
    },
  };
}

function requireName(name: string): void {
  if (!launchName.test(name)) {
    throw new DomainError(
      'invalid-request',
      `'${name}' cannot name a launch: letters, digits, '.', '_' and '-' can, 200 at most.`,
    );
  }
}

function requireRunnable(spec: StageSpec): void {
  requireName(spec.name);
  if (spec.network !== 'open') {
    const message = `The stage asks for network '${spec.network}', but the process runner cannot restrict the network: ask for 'open', or use a pool with another runner.`;
    throw new DomainError('network-not-enforceable', message);
  }
  const { root, workDir, writable } = spec.files;
  const relative = [root, workDir, ...writable].find((path) => !isAbsolute(path));
  if (relative !== undefined) throw new Error(`The directory '${relative}' of ${spec.name} is not absolute.`);
  if (spec.command.length === 0) throw new Error(`The command of ${spec.name} is empty.`);
}

async function isNew(launch: Launch): Promise<boolean> {
  try {
    await mkdir(join(launch.directory, '..'), { recursive: true, mode: 0o700 });
    await mkdir(launch.directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  await mkdir(join(launch.directory, 'state'), { mode: 0o700 });
  return true;
}

// A supervisor that never claimed the launch never will: the name may be started again.
async function launchOrForget(options: SupervisorOptions, launch: Launch, spec: StageSpec): Promise<void> {
  try {
    await startSupervisor(options, launch, spec);
  } catch (error) {
    await rm(launch.directory, { recursive: true, force: true });
    throw error;
  }
}

async function isHeld(launch: Launch): Promise<boolean> {
  try {
    return (await stat(launch.directory)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function bury(options: SupervisorOptions, launch: Launch): Promise<StageExit> {
  await mkdir(join(launch.directory, 'state'), { recursive: true, mode: 0o700 });
  await sweepLaunch(options, launch);
  const exit = await readExit(launch);
  if (!exit) throw new Error(`The launch ${launch.name} has neither a supervisor nor an exit.`);
  return exit;
}

function createHandle(options: SupervisorOptions, launch: Launch): StageHandle {
  const wait = (abort?: AbortSignal): Promise<StageExit> => waitForExit(launch, () => bury(options, launch), abort);
  return {
    name: launch.name,
    wait,
    signal: (kind) => signalSupervisor(launch, kind),
    logs: (fromByte, maxBytes) => readLog(launch, fromByte, maxBytes),
    stats: () => readStats(launch),
    async remove() {
      if (!(await isHeld(launch))) return;
      await signalSupervisor(launch, 'kill');
      await wait();
      await forget(launch);
    },
  };
}

// SIGUSR1 asks for the kill without grace. The supervisor itself is never killed: it cleans up.
async function signalSupervisor(launch: Launch, kind: 'terminate' | 'kill'): Promise<void> {
  const identity = await readSupervisor(launch);
  if (!identity?.pid || (await readExit(launch)) || !(await isAlive(identity))) return;
  try {
    process.kill(identity.pid, kind === 'kill' ? 'SIGUSR1' : 'SIGTERM');
  } catch (error) {
    // Ended between the look and the signal, which is what the signal asks for.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

// Renamed first: a directory that is half gone must not look like a launch.
async function forget(launch: Launch): Promise<void> {
  const removed = join(launch.directory, '..', `.removed-${launch.name}`);
  await rename(launch.directory, removed);
  await rm(removed, { recursive: true, force: true });
}
