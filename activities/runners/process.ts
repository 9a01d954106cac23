// Runs stages as processes of this node. For trusted code: it bounds and cleans up after a stage, it does not jail it.

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import {
  forgetLaunchDirectory,
  hasLaunchDirectory,
  listLaunchDirectories,
  makeLaunchDirectory,
  requireRunnable,
} from './launch-directory.ts';
import { requireLaunchName } from './launch-name.ts';
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

export function createProcessRunner(options: ProcessRunnerOptions): Runner {
  const { python, stageUser, stateDir } = options;
  const supervisor = { python, stageUser, cgroups: options.cgroups ?? true, cacheDir: join(stateDir, '.python') };
  return {
    kind: 'process',
    async start(spec) {
      requireRunnable(spec);
      requireEnforceable(spec);
      const launch = { name: spec.name, directory: join(stateDir, spec.name) };
      if (await makeLaunchDirectory(launch)) await launchOrForget(supervisor, launch, spec);
      return createHandle(supervisor, launch);
    },
    async attach(name) {
      requireLaunchName(name);
      const launch = { name, directory: join(stateDir, name) };
      if (!(await hasLaunchDirectory(launch))) return null;
      if (!(await readExit(launch)) && !(await isSupervised(launch))) await bury(supervisor, launch);
      return createHandle(supervisor, launch);
    },
    list: () => listLaunchDirectories(stateDir),
    apiUrl: async (_, publicUrl) => publicUrl,
    tidy: async () => undefined,
    close: async () => undefined,
  };
}

function requireEnforceable(spec: StageSpec): void {
  if (spec.network !== 'open') {
    const message = `The stage asks for network '${spec.network}', but the process runner cannot restrict the network: ask for 'open', or use a pool with another runner.`;
    throw new DomainError('network-not-enforceable', message);
  }
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
      if (!(await hasLaunchDirectory(launch))) return;
      await signalSupervisor(launch, 'kill');
      await wait();
      await forgetLaunchDirectory(launch);
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
