// What a launch in a container has in its directory besides what every launch has. Only workers read and write these.

import { link, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Launch, readExit, readIfThere, stateDirectoryOf } from '#activities/runners/launch-state.ts';
import { isAlive, ownIdentity, type ProcessIdentity } from '#activities/runners/process-identity.ts';
import type { StageExit } from '#activities/runners/runner.ts';

/** A launch that nobody claimed within this time will never be: its worker died between two steps of the start. */
const claimMs = 10_000;
const fullDiskPauseMs = 500;
const fullDiskMs = 60_000;

/** When the stage is to be killed, written before it is asked to end. */
export interface StopRequest {
  killAtMs: number;
}

const stateFile = (launch: Launch, name: string): string => join(stateDirectoryOf(launch), name);

export async function makeFolders(
  launch: Launch,
  temporary: string,
  user: { uid: number; gid: number },
): Promise<void> {
  await Promise.all([
    mkdir(temporary, { recursive: true, mode: 0o700 }),
    mkdir(join(launch.directory, 'io'), { mode: 0o711 }),
  ]);
  const folder = await open(temporary, 'r');
  try {
    await folder.chmod(0o1777);
    await folder.chown(user.uid, user.gid);
  } finally {
    await folder.close();
  }
}

/** Marks the launch as being started by this process; `graceMs` is for whoever stops it. */
export async function noteStart(launch: Launch, graceMs: number): Promise<void> {
  await writeFile(stateFile(launch, 'launch.json'), JSON.stringify({ graceMs }), { mode: 0o600 });
  await writeFile(stateFile(launch, 'starting.json'), JSON.stringify(await ownIdentity()), { mode: 0o600 });
}

export async function noteStarted(launch: Launch): Promise<void> {
  await rm(stateFile(launch, 'starting.json'), { force: true });
}

/** True while the process that made the launch may still be about to start its container. */
export async function isStarting(launch: Launch): Promise<boolean> {
  const text = await readIfThere(stateFile(launch, 'starting.json'));
  if (text) return await isAlive(JSON.parse(text) as ProcessIdentity);
  if ((await readIfThere(stateFile(launch, 'launch.json'))) !== null) return false;
  return Date.now() - (await stat(launch.directory)).mtimeMs < claimMs;
}

export async function readGraceMs(launch: Launch): Promise<number> {
  const text = await readIfThere(stateFile(launch, 'launch.json'));
  return text ? (JSON.parse(text) as { graceMs: number }).graceMs : 0;
}

export async function readStop(launch: Launch): Promise<StopRequest | null> {
  const text = await readIfThere(stateFile(launch, 'stop.json'));
  return text ? (JSON.parse(text) as StopRequest) : null;
}

export async function writeStop(launch: Launch, stop: StopRequest): Promise<void> {
  const draft = stateFile(launch, `stop.json.${randomUUID()}`);
  await writeFile(draft, JSON.stringify(stop), { mode: 0o600 });
  await rename(draft, stateFile(launch, 'stop.json'));
}

/** Tells a carrier that saw no writer close that there is none any more. */
export async function noteEnded(launch: Launch): Promise<void> {
  await writeFile(stateFile(launch, 'ended'), '', { mode: 0o600 });
}

export async function readLogEnd(launch: Launch): Promise<{ logBytes: number; logDroppedBytes: number } | null> {
  const text = await readIfThere(stateFile(launch, 'log.json'));
  return text === null ? null : (JSON.parse(text) as { logBytes: number; logDroppedBytes: number });
}

/** Whoever writes first decides: every other writer gets that exit. A full disk is waited for. */
export async function writeExitOnce(launch: Launch, exit: StageExit): Promise<StageExit> {
  const until = Date.now() + fullDiskMs;
  for (;;) {
    try {
      await linkNew(stateFile(launch, 'exit.json'), JSON.stringify(exit));
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC' || Date.now() > until) throw error;
      await setTimeout(fullDiskPauseMs);
    }
  }
  const kept = await readExit(launch);
  if (kept === null) throw new Error(`The exit of ${launch.name} was removed while it was written.`);
  return kept;
}

async function linkNew(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
}
