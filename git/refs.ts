import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type GitOptions, GitError, runGit } from './command.ts';
import { ignoreMissing } from './quarantine.ts';

// A lock file that outlived this has no owner: the commands that take locks are ended earlier.
const timeoutMs = 20_000;
const staleLockMs = 30_000;

async function lockFiles(gitDir: string): Promise<string[]> {
  const top = ['HEAD.lock', 'packed-refs.lock', 'config.lock'].map((name) => join(gitDir, name));
  const below = await readdir(join(gitDir, 'refs'), { recursive: true });
  return [...top, ...below.filter((name) => name.endsWith('.lock')).map((name) => join(gitDir, 'refs', name))];
}

/** Removes reference locks whose owner was killed. Answers how many. */
export async function removeStaleLocks(gitDir: string): Promise<number> {
  let removed = 0;
  for (const file of await lockFiles(gitDir)) {
    const found = await stat(file).catch(ignoreMissing);
    if (found === null || Date.now() - found.mtimeMs < staleLockMs) continue;
    await rm(file, { force: true });
    removed += 1;
  }
  return removed;
}

/** Changes references in one transaction, in the language of `git update-ref --stdin`. */
export async function updateRefs(commands: readonly string[], git: GitOptions & { gitDir: string }): Promise<void> {
  if (commands.length === 0) return;
  const update = () =>
    runGit(['update-ref', '--no-deref', '--stdin'], { ...git, timeoutMs, stdin: `${commands.join('\n')}\n` });
  try {
    await update();
  } catch (error) {
    const isLocked = error instanceof GitError && error.stderr.includes(".lock': File exists");
    if (!isLocked || (await removeStaleLocks(git.gitDir)) === 0) throw error;
    await update();
  }
}

/** A commit with this reference is kept for ever, whatever happens to branches. */
export function pinCommand(commit: string): string {
  return `update refs/assay/commits/${commit} ${commit}`;
}

export async function packRefs(git: GitOptions): Promise<void> {
  await runGit(['pack-refs', '--all'], { ...git, timeoutMs });
}
