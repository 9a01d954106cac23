// The files of a folder that belong to the project: what git tracks and what it does not ignore.
import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import type { Repository } from '#contract/repository.ts';

const run = promisify(execFile);
const listingBytesMax = 64 * 1024 ** 2;
const leftOut = new Set(['.git', '.venv', 'venv', 'node_modules', '__pycache__']);

/** The working tree as the project file's rules see a commit. */
export async function openWorkingTree(root: string): Promise<Repository> {
  const files = (await listedByGit(root)) ?? (await listedByWalking(root, root));
  return { files, read: (path) => readIfFile(join(root, path)) };
}

/** Tracked and new files; null outside a git checkout. */
async function listedByGit(root: string): Promise<string[] | null> {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const answer = await run('git', args, { cwd: root, maxBuffer: listingBytesMax }).catch(() => null);
  return answer === null ? null : [...new Set(answer.stdout.split('\0').filter(Boolean))];
}

async function listedByWalking(root: string, dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const lists = await Promise.all(
    entries.map(async (entry) => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) return leftOut.has(entry.name) ? [] : listedByWalking(root, path);
      return entry.isFile() ? [relative(root, path).split(sep).join('/')] : [];
    }),
  );
  return lists.flat().toSorted();
}

async function readIfFile(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() ? readFile(path, 'utf8') : null;
}
