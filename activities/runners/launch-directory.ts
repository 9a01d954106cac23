// The directory of a launch, whose making is the right to start it.

import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { removeTree } from '#activities/stage/remove-tree.ts';
import { isLaunchName, requireLaunchName } from './launch-name.ts';
import type { Launch } from './launch-state.ts';
import type { StageSpec } from './runner.ts';

export function requireRunnable(spec: StageSpec): void {
  requireLaunchName(spec.name);
  const { root, workDir, writable } = spec.files;
  const relative = [root, workDir, ...writable].find((path) => !isAbsolute(path));
  if (relative !== undefined) throw new Error(`The directory '${relative}' of ${spec.name} is not absolute.`);
  if (spec.command.length === 0) throw new Error(`The command of ${spec.name} is empty.`);
}

/** False where the name is held already, by whomever. */
export async function makeLaunchDirectory(launch: Launch): Promise<boolean> {
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

export async function hasLaunchDirectory(launch: Launch): Promise<boolean> {
  try {
    return (await stat(launch.directory)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

export async function listLaunchDirectories(stateDir: string): Promise<string[]> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  return (await readdir(stateDir)).filter(isLaunchName);
}

/** Renamed first: a directory that is half gone must not look like a launch. */
export async function forgetLaunchDirectory(launch: Launch): Promise<void> {
  const removed = join(launch.directory, '..', `.removed-${launch.name}`);
  try {
    await rename(launch.directory, removed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await removeTree(removed);
}
