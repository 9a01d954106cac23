import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError, type GitOptions, runGit } from './command.ts';
import { ignoreMissing } from './quarantine.ts';
import { packRefs, removeStaleLocks } from './refs.ts';

const packsMax = 40;
const gitMin = [2, 39] as const;

/** Older versions lack switches that the defences here rely on. */
export async function requireGit(): Promise<void> {
  const text = (await runGit(['version'])).toString('utf8').trim();
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  if (major > gitMin[0] || (major === gitMin[0] && minor >= gitMin[1])) return;
  throw new GitError('not-installed', `${text} was found on PATH; install git ${gitMin.join('.')} or newer`);
}

/**
 * Joins packs when many have gathered, because every look-up asks each pack. Nothing is dropped: unreachable objects of
 * joined packs stay in the new one.
 */
export async function maintain(git: GitOptions & { gitDir: string }): Promise<void> {
  const names = await readdir(join(git.gitDir, 'objects', 'pack'));
  if (names.filter((name) => name.endsWith('.pack')).length <= packsMax) return;
  await runGit(['repack', '-d', '-q', '--geometric=2'], git);
  await packRefs(git);
}

/** Removes locks and half-written packs of killed processes from every mirror. */
export async function removeStaleFiles(rootDir: string, ageMsMax: number): Promise<void> {
  for (const name of (await readdir(rootDir).catch(ignoreMissing)) ?? []) {
    if (!name.endsWith('.git')) continue;
    await removeStaleLocks(join(rootDir, name));
    await removeTemporaryPacks(join(rootDir, name, 'objects', 'pack'), ageMsMax);
  }
}

async function removeTemporaryPacks(dir: string, ageMsMax: number): Promise<void> {
  for (const name of (await readdir(dir)).filter((one) => one.startsWith('tmp_') || one.startsWith('.tmp-'))) {
    const found = await stat(join(dir, name)).catch(ignoreMissing);
    if (found !== null && Date.now() - found.mtimeMs > ageMsMax) await rm(join(dir, name), { force: true });
  }
}
