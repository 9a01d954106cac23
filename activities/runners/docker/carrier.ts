// The program that carries the output of a container to the launch's log, started here and alive without us.

import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Launch, readSupervisor } from '#activities/runners/launch-state.ts';
import { isAlive } from '#activities/runners/process-identity.ts';
import { type Python, startDetached } from '#activities/runners/python-program.ts';
import type { StageSpec } from '#activities/runners/runner.ts';
import { noteEnded, readLogEnd } from './launch-files.ts';

const script = fileURLToPath(new URL('../carry.py', import.meta.url));
const pauseMs = 5;
const finishMs = 60_000;

/** Resolves when everything that the container mounts is there. The variables exist in its memory alone. */
export async function startCarrier(
  python: Python,
  launch: Launch,
  spec: StageSpec,
  variables: Record<string, string>,
  user: { uid: number; gid: number } | null,
): Promise<void> {
  const { root, writable } = spec.files;
  const message = { logBytes: spec.limits.logBytes, root, writable, variables, user };
  await startDetached(python, script, 'run', launch, JSON.stringify(message));
}

/** Replaces a carrier that was killed. */
export async function keepCarried(python: Python, launch: Launch): Promise<void> {
  if (await isCarried(launch)) return;
  if ((await readSupervisor(launch)) === null || (await readLogEnd(launch)) !== null) return;
  await startDetached(python, script, 'resume', launch, '');
}

/** After the container ended: what its log holds, once the last byte is stored. */
export async function finishLog(
  python: Python,
  launch: Launch,
): Promise<{ logBytes: number; logDroppedBytes: number }> {
  const until = Date.now() + finishMs;
  for (let tries = 0; ; tries += 1) {
    const end = await readLogEnd(launch);
    if (end !== null) return end;
    if ((await readSupervisor(launch)) === null) return { logBytes: 0, logDroppedBytes: 0 };
    if (Date.now() > until) throw new Error(`The log of ${launch.name} was not finished within ${finishMs / 1000} s.`);
    if (tries === 20) await noteEnded(launch);
    if (tries % 20 === 0) await keepCarried(python, launch);
    await setTimeout(pauseMs);
  }
}

/** For a launch that is given up: its container will never write anything. */
export async function stopCarrier(launch: Launch): Promise<void> {
  const carrier = await readSupervisor(launch);
  if (!carrier?.pid || !(await isAlive(carrier))) return;
  try {
    process.kill(carrier.pid, 'SIGTERM');
  } catch (error) {
    // Ended between the look and the signal, which is what the signal asks for.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function isCarried(launch: Launch): Promise<boolean> {
  const carrier = await readSupervisor(launch);
  return carrier !== null && (await isAlive(carrier));
}
