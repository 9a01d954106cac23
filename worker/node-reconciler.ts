// Removes from this node what belongs to no open attempt: launches that ended unseen, and directories left behind.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openLaunches } from '#db/attempts.ts';
import type { Database } from '#db/connect.ts';
import type { Runner } from '#activities/runners/runner.ts';
import type { Devices } from '#activities/stage/devices.ts';
import type { Logger } from './logger.ts';

const everyMs = 5_000;

export interface NodeReconcilerDeps {
  db: Database;
  runner: Runner;
  devices: Devices;
  nodeId: string;
  workDir: string;
  /** Launches that an activity of this process is busy with. */
  watched: ReadonlySet<string>;
  log: Logger;
}

/** Marks the devices of stages that still run as taken; called before the worker polls. */
export async function adoptLaunches(deps: NodeReconcilerDeps): Promise<void> {
  const held = new Set(await deps.runner.list());
  for (const attempt of await openLaunches(deps.db, deps.nodeId)) {
    if (held.has(attempt.launch)) deps.devices.adopt(attempt.launch, attempt.devices);
  }
}

export function startNodeReconciler(deps: NodeReconcilerDeps): { stop(): Promise<void> } {
  let work: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    work = work
      .then(() => reconcileNode(deps))
      .catch((error: unknown) => {
        deps.log.warn({ error }, 'reconciling this node was interrupted and goes on at the next tick');
      });
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await work;
    },
  };
}

/** The names are listed before Postgres is asked, so that a launch made in between is never taken for a leftover. */
async function reconcileNode(deps: NodeReconcilerDeps): Promise<void> {
  const held = await deps.runner.list();
  const directories = await readdir(deps.workDir).catch(() => []);
  const open = new Set((await openLaunches(deps.db, deps.nodeId)).map((attempt) => attempt.launch));
  const isLeftover = (name: string) => !open.has(name) && !deps.watched.has(name);
  for (const name of held.filter(isLeftover)) {
    deps.log.info({ launch: name }, 'removing a launch that belongs to no open attempt');
    await (await deps.runner.attach(name))?.remove();
    deps.devices.free(name);
  }
  for (const name of directories.filter(isLeftover)) {
    await rm(join(deps.workDir, name), { recursive: true, force: true });
  }
}
