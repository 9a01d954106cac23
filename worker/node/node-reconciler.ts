// Removes from this node what belongs to no open attempt: launches that ended unseen, and directories left behind.
import { readdir } from 'node:fs/promises';
import { openLaunches } from '#db/attempts.ts';
import type { Database } from '#db/connect.ts';
import type { Runner } from '#activities/runners/runner.ts';
import type { Slots } from '#activities/stage/slots.ts';
import type { Watches } from '#activities/stage/watches.ts';
import { removeWorkspace } from '#activities/stage/workspace.ts';
import type { Logger } from '#worker/logger.ts';
import { startTicking } from '#worker/ticking.ts';

const everyMs = 5_000;
const tidyEveryMs = 3_600_000;

export interface NodeReconcilerDeps {
  db: Database;
  runner: Runner;
  slots: Slots;
  nodeId: string;
  workDir: string;
  /** Launches that an activity of this process is busy with. */
  watched: Pick<Watches, 'has'>;
  log: Logger;
}

/**
 * Takes the slots and devices of open attempts of this node; called before the worker polls. One that was not started
 * yet is started here by whoever attaches to it, so it holds its slot too.
 */
export async function adoptLaunches(deps: NodeReconcilerDeps): Promise<void> {
  for (const { launch, devices } of await openLaunches(deps.db, deps.nodeId)) deps.slots.adopt(launch, devices);
}

export function startNodeReconciler(deps: NodeReconcilerDeps): { stop(): Promise<void> } {
  let tidyAt = 0;
  const pass = async () => {
    await reconcileNode(deps);
    if (Date.now() < tidyAt) return;
    tidyAt = Date.now() + tidyEveryMs;
    await deps.runner.tidy();
  };
  return startTicking(everyMs, pass, deps.log, 'reconciling this node');
}

/**
 * The names are listed before Postgres is asked, so that a launch made in between is never taken for a leftover. What
 * can not be removed now is tried again at the next tick and keeps nothing else from being removed.
 */
async function reconcileNode(deps: NodeReconcilerDeps): Promise<void> {
  const held = await deps.runner.list();
  const holding = deps.slots.uncovered();
  const directories = await readdir(deps.workDir).catch(() => []);
  const open = new Set((await openLaunches(deps.db, deps.nodeId)).map((attempt) => attempt.launch));
  const isLeftover = (name: string) => !open.has(name) && !deps.watched.has(name);
  for (const name of held.filter(isLeftover)) {
    deps.log.info({ launch: name }, 'removing a launch that belongs to no open attempt');
    await orLater(deps, name, async () => {
      await (await deps.runner.attach(name))?.remove();
      deps.slots.free(name);
    });
  }
  for (const name of holding.filter((launch) => isLeftover(launch) && !held.includes(launch))) deps.slots.free(name);
  for (const name of directories.filter(isLeftover)) {
    await orLater(deps, name, () => removeWorkspace(deps.workDir, name));
  }
}

async function orLater(deps: NodeReconcilerDeps, name: string, remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    deps.log.warn({ error, launch: name }, 'a leftover could not be removed; it is tried again');
  }
}
