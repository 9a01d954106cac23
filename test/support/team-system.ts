// The processes of a team's set-up as something that a kill loop can strike.
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { System } from './kill-loop.ts';
import { until } from './stack.ts';
import { isWholeOnDisk, launchesIn, stageProcesses } from './stage-processes.ts';
import { startTopology, type Topology, type TopologyOptions } from './topology.ts';

export interface TeamSystem extends System {
  databaseUrls(): { owner: string; app: string };
}

export function teamSystem(options: TopologyOptions): TeamSystem {
  let topology: Topology | null = null;
  const stageWorkers = Array.from({ length: options.stageWorkers }, (_, index) => `stage-${index + 1}`);
  const homes = stageWorkers.map((name) => join(options.home, name));
  const running = () => {
    if (topology === null) throw new Error('The system was not started.');
    return topology;
  };
  return {
    kinds: [
      'postgres',
      'temporal',
      ...(options.s3 === true ? ['s3'] : []),
      'api',
      'control',
      ...stageWorkers,
      'supervisor',
      'stage',
    ],
    watchers: stageWorkers,
    client: () => running().client(),
    async start() {
      topology ??= await startTopology(options);
      await this.ready();
    },
    async ready() {
      await until(async () => (await fetch(`${running().url}/ready`).catch(() => null))?.ok === true);
    },
    find(kind) {
      if (kind === 'stage' && options.docker === true) return containerProcesses(homes);
      if (kind === 'supervisor' || kind === 'stage') return homes.flatMap((home) => stageProcesses(home, kind));
      const pid = running().pid(kind);
      return pid === undefined ? [] : [{ pid, launch: null }];
    },
    // A carrier is there before its container runs; what was only about to run is launched again.
    watchedBy: (kind) =>
      options.docker === true
        ? containerProcesses([join(options.home, kind)])
        : stageProcesses(join(options.home, kind), 'supervisor'),
    async kill(_kind, pid) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        return false;
      }
      await sleep(200);
      return true;
    },
    // Every process is started again by itself, as docker-compose.yml has it.
    revive: () => Promise.resolve(null),
    databaseUrls: () => running().databaseUrls,
    services: () => Promise.resolve({ ownerUrl: running().databaseUrls.owner, temporal: running().temporalAddress }),
    isWhole: (sha256) => isWholeOnDisk(running().blobs, sha256),
    launches: () => homes.flatMap(launchesIn),
    workspaces: async () => (await Promise.all(homes.map((home) => readdir(join(home, 'node', 'work'))))).flat(),
    stop: () => running().stop(),
  };
}

/** The first processes of the containers that belong to launches of these homes. */
function containerProcesses(homes: readonly string[]): Array<{ pid: number; launch: string }> {
  const names = new Set(homes.flatMap(launchesIn));
  const docker = (...args: string[]) =>
    execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const running = docker('ps', '--format', '{{.Names}}')
    .split('\n')
    .filter((name) => names.has(name));
  return running.flatMap((launch) => {
    try {
      return [{ pid: Number(docker('inspect', '--format', '{{.State.Pid}}', launch)), launch }];
    } catch {
      return []; // It ended in between.
    }
  });
}
