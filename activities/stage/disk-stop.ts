// Why a stage was killed to save the disk of its node, kept beside its workspace so that whoever records its end knows.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const noteOf = (workspaceFolder: string): string => join(workspaceFolder, 'disk-stop.txt');

export async function noteDiskStop(workspaceFolder: string, sentence: string): Promise<void> {
  await writeFile(noteOf(workspaceFolder), sentence, { mode: 0o600 });
}

/** Null for a stage that ended for another reason. */
export async function readDiskStop(workspaceFolder: string): Promise<string | null> {
  try {
    return await readFile(noteOf(workspaceFolder), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
