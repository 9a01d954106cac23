// What a stage left in its working directory, read by somebody with more rights than the stage: nothing is taken for
// granted about what it did there, and no link of its making is followed.
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { Listing } from '#core/outputs.ts';

export interface WrittenFiles {
  /** In the form of `listFiles`; empty when the stage removed the directory. */
  listing: Listing;
  notes: string[];
}

/** Refuses with `outputs-refused` a directory that was replaced, and files that can not be read. */
export async function listWrittenFiles(directory: string): Promise<WrittenFiles> {
  const found = await lstatIfThere(directory);
  if (found === null) return { listing: new Map(), notes: ['The stage removed its working directory.'] };
  if (!found.isDirectory()) throw refused('The stage put something else in the place of its working directory.');
  const listing = new Map<string, string>();
  let unnamed = 0;
  for (const path of await listRegularFiles(directory)) {
    // A name that is not UTF-8 reads as another name, under which there is nothing.
    const file = await lstatIfThere(path);
    if (file === null) unnamed += 1;
    else listing.set(relative(directory, path), `${file.size}.${file.mtimeMs}.${file.ino}`);
  }
  const notes = unnamed === 0 ? [] : [`${unnamed} files have names that are not UTF-8 and are not kept.`];
  return { listing, notes };
}

async function listRegularFiles(directory: string): Promise<string[]> {
  const entries = await orRefuse(() => readdir(directory, { recursive: true, withFileTypes: true }));
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function lstatIfThere(path: string) {
  try {
    return await orRefuse(() => lstat(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Opens a file of the listing. Refuses what became something else since: other stages run as the same user, and a
 * directory swapped for a link would make the worker read what the stage may not. `folder` is the worker's own.
 */
export async function openWritten(folder: string, path: string): Promise<FileHandle> {
  // A pipe in the place of the file would otherwise wait for its writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await orRefuse(() => open(join(folder, path), flags));
  try {
    const wanted = join(await realpath(folder), path);
    const opened = await realpath(process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : join(folder, path));
    if (opened !== wanted || !(await handle.stat()).isFile()) {
      throw refused(`The stage put something else in the place of ${path} while it was read.`);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A worker that is not root reads only what the stage lets it read. */
async function orRefuse<R>(read: () => Promise<R>): Promise<R> {
  try {
    return await read();
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'ELOOP' && code !== 'ENXIO') throw error;
    throw refused(`The stage left ${path ?? 'a file'} in a state in which it can not be read (${code}).`);
  }
}

function refused(message: string): DomainError {
  return new DomainError('outputs-refused', message);
}
