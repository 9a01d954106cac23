import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dynamicFiles, type Pyproject, readPyproject, relevantText } from './pyproject.ts';
import { logicalLines } from './requirements-file.ts';
import { readText } from './tree.ts';

/** A file with the part of its text that decides what is installed. */
export interface RelevantText {
  path: string;
  text: string;
}

/** The parts of package definitions that decide what they depend on. */
export async function packageTexts(root: string, directories: readonly string[]): Promise<RelevantText[]> {
  const found: RelevantText[] = [];
  for (const directory of directories) {
    const pyproject = await readPyproject(root, directory);
    if (pyproject !== undefined) found.push({ path: join(directory, 'pyproject.toml'), text: relevantText(pyproject) });
    const isStatic = pyproject?.hasProject && !pyproject.isDynamic;
    const others = isStatic || pyproject?.usesPoetryOnly ? [] : setupFiles(pyproject);
    for (const name of others) {
      const text = await readText(join(root, directory, name));
      if (text !== undefined) found.push({ path: join(directory, name), text: logicalLines(text).join('\n') });
    }
  }
  return found;
}

/** A setup.py commonly reads its requirements from a file beside it. */
function setupFiles(pyproject: Pyproject | undefined): string[] {
  const named = pyproject === undefined ? [] : dynamicFiles(pyproject);
  return [...new Set(['setup.py', 'setup.cfg', 'requirements.txt', ...named])];
}

export async function archiveTexts(root: string, archives: readonly string[]): Promise<RelevantText[]> {
  return await Promise.all(
    archives.map(async (path) => ({ path, text: (await readFile(join(root, path))).toString('latin1') })),
  );
}

/** What a folder of archives offers: its names, which hold the versions. */
export async function folderTexts(root: string, folders: readonly string[]): Promise<RelevantText[]> {
  return await Promise.all(
    folders.map(async (path) => ({ path, text: (await readdir(join(root, path))).sort().join('\n') })),
  );
}
