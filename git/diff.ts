// What changed between two commits, which may lie in two repositories.
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type GitOptions, GitError, runGit, startGit } from './command.ts';
import { knownCommits } from './commit.ts';
import { importArchive } from './import-archive.ts';
import { withQuarantine } from './quarantine.ts';

/** One side of a comparison. The archive stands in where the mirror has lost the commit. */
export interface CodeSide {
  projectId: string;
  commit: string;
  archive: () => Promise<Readable>;
}

interface CommitAt {
  gitDir: string;
  commit: string;
}

export interface FileDiff {
  path: string;
  /** A added, M modified, D deleted, T type changed. */
  status: string;
  /** Null for files that are not text. */
  linesAdded: number | null;
  linesRemoved: number | null;
}

export interface CodeDiff {
  /** Sorted by path; renames are a deleted and an added file. */
  files: FileDiff[];
  patch: string;
  /** The patch was longer and was cut at the end of a line. */
  isPatchCut: boolean;
  /** Commits that the mirrors have no more, which were read from their archives. */
  fromArchives: string[];
}

const common = ['diff-tree', '-r', '--no-renames', '--no-ext-diff', '--no-textconv', '--no-color'];

/**
 * `patchBytesMax` 0 leaves the patch out. `gitDirOf` opens a project's mirror. What stands in for a lost commit lies in a
 * repository of its own, which goes with the answer.
 */
export async function diffCode(
  rootDir: string,
  gitDirOf: (projectId: string) => Promise<string>,
  sides: { before: CodeSide; after: CodeSide },
  patchBytesMax: number,
  options: Omit<GitOptions, 'gitDir'>,
): Promise<CodeDiff> {
  const find = async ({ projectId, commit, archive }: CodeSide) => {
    const gitDir = await gitDirOf(projectId);
    return { gitDir, commit, archive, isHere: (await knownCommits([commit], { ...options, gitDir })).length > 0 };
  };
  const [before, after] = await Promise.all([find(sides.before), find(sides.after)]);
  if (before.isHere && after.isHere) {
    return { ...(await diffCommits(before, after, patchBytesMax, options)), fromArchives: [] };
  }
  return await withQuarantine(rootDir, after.gitDir, async ({ gitDir }) => {
    const stoodIn: string[] = [];
    const standIn = async (side: typeof before): Promise<CommitAt> => {
      if (side.isHere) return side;
      stoodIn.push(side.commit);
      return { gitDir, commit: await importArchive(await side.archive(), { ...options, gitDir }) };
    };
    const [a, b] = [await standIn(before), await standIn(after)];
    return { ...(await diffCommits(a, { ...b, gitDir }, patchBytesMax, options)), fromArchives: stoodIn };
  });
}

async function diffCommits(
  before: CommitAt,
  after: CommitAt,
  patchBytesMax: number,
  options: Omit<GitOptions, 'gitDir'>,
): Promise<Omit<CodeDiff, 'fromArchives'>> {
  const here: GitOptions = {
    ...options,
    gitDir: after.gitDir,
    env: before.gitDir === after.gitDir ? {} : { GIT_ALTERNATE_OBJECT_DIRECTORIES: join(before.gitDir, 'objects') },
  };
  const commits = ['--end-of-options', before.commit, after.commit];
  const [listing, patch] = await Promise.all([
    runGit([...common, '-z', '--raw', '--numstat', ...commits], here),
    patchBytesMax === 0 ? { text: '', isCut: false } : readStart([...common, '-p', ...commits], patchBytesMax, here),
  ]);
  return { files: parseListing(listing.toString('utf8')), patch: patch.text, isPatchCut: patch.isCut };
}

/** `-z` writes `:… STATUS NUL path NUL` per file, then `added TAB removed TAB path NUL` per file. */
function parseListing(text: string): FileDiff[] {
  const fields = text.split('\0');
  const files = new Map<string, FileDiff>();
  for (let at = 0; at < fields.length; at += 1) {
    const field = fields[at] ?? '';
    if (field.startsWith(':')) {
      const path = fields[(at += 1)] ?? '';
      files.set(path, { path, status: field.at(-1) ?? 'M', linesAdded: null, linesRemoved: null });
      continue;
    }
    const [, added = '-', removed = '-', path = ''] = /^(\d+|-)\t(\d+|-)\t(.*)$/s.exec(field) ?? [];
    const file = files.get(path);
    if (file === undefined || added === '-') continue;
    file.linesAdded = Number(added);
    file.linesRemoved = Number(removed);
  }
  return [...files.values()];
}

/** The first bytes of what git prints, whole lines of it; git is stopped when there is more. */
async function readStart(
  args: readonly string[],
  bytesMax: number,
  options: GitOptions,
): Promise<{ text: string; isCut: boolean }> {
  const git = startGit(args, options);
  git.stdin.end();
  const enough = new GitError('output-limit', 'enough of the patch was read');
  const ended = git.done.then(
    () => null,
    (error: Error) => error,
  );
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  git.stdout.on('data', (chunk: Buffer) => {
    if (sizeBytes > bytesMax) return;
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > bytesMax) git.stop(enough);
  });
  const error = await ended;
  if (error !== null && error !== enough) throw error;
  const all = Buffer.concat(chunks);
  if (all.length <= bytesMax) return { text: all.toString('utf8'), isCut: false };
  const end = all.subarray(0, bytesMax).lastIndexOf(10) + 1;
  return { text: all.toString('utf8', 0, end), isCut: true };
}
