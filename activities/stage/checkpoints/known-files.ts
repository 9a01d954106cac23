// Digests of files by their stamps, kept beside the workspace, so that nothing is read twice: not after it was restored,
// not after it was renamed, and not by the next worker that watches the launch.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Stamp → sha256. */
export type KnownFiles = Map<string, string>;

const fileOf = (workspaceFolder: string): string => join(workspaceFolder, 'checkpoints.json');

export async function readKnownFiles(workspaceFolder: string): Promise<KnownFiles> {
  try {
    return new Map(JSON.parse(await readFile(fileOf(workspaceFolder), 'utf8')) as Array<[string, string]>);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
}

export async function writeKnownFiles(workspaceFolder: string, known: KnownFiles): Promise<void> {
  const draft = `${fileOf(workspaceFolder)}.draft`;
  await writeFile(draft, JSON.stringify([...known]), { mode: 0o600 });
  await rename(draft, fileOf(workspaceFolder));
}
