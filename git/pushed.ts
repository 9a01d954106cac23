// What is asked about a commit that was just pushed.
import { DomainError } from '#core/errors.ts';
import { type GitOptions, GitError, runGit } from './command.ts';
import { diffNames } from './tree.ts';

export interface CommitFile {
  /** The whole message. */
  message: string;
  /** The text of the asked file, links inside the tree followed; null when the commit does not have it. */
  file: string | null;
}

const commitBytesMax = 4 * 1024 ** 2;

interface Answer {
  type: string;
  content: Buffer;
  next: number;
}

/** One record of `git cat-file --batch`: a header, then as many bytes as it says. A name without an object has none. */
function readAnswer(output: Buffer, at: number): Answer {
  const end = output.indexOf(10, at);
  const header = output.toString('latin1', at, end);
  const match = /^(?:[0-9a-f]+ )?(\w+) (\d+)$/.exec(header);
  if (match === null) return { type: 'missing', content: Buffer.alloc(0), next: end + 1 };
  const start = end + 1;
  const sizeBytes = Number(match[2]);
  return { type: match[1] ?? '', content: output.subarray(start, start + sizeBytes), next: start + sizeBytes + 1 };
}

/**
 * A commit's message and one of its files, by one git process; null when the commit is not here. Throws source-too-large
 * above `sizeBytesMax`.
 */
export async function readCommitFile(
  sha: string,
  path: string,
  sizeBytesMax: number,
  options: GitOptions,
): Promise<CommitFile | null> {
  const args = ['cat-file', '--batch', '-z', '--follow-symlinks'];
  const outputBytesMax = commitBytesMax + sizeBytesMax;
  const output = await runGit(args, { ...options, stdin: `${sha}\0${sha}:${path}\0`, outputBytesMax }).catch(
    (error: unknown) => {
      if (!(error instanceof GitError) || error.failure !== 'output-limit') throw error;
      throw new DomainError('source-too-large', `The commit's message or its ${path} is too large to be read.`);
    },
  );
  const commit = readAnswer(output, 0);
  if (commit.type !== 'commit') return null;
  const body = commit.content.toString('utf8');
  const split = body.indexOf('\n\n');
  const file = readAnswer(output, commit.next);
  if (file.content.length > sizeBytesMax) {
    throw new DomainError('source-too-large', `The file ${path} has more than ${sizeBytesMax} bytes; make it smaller.`);
  }
  return {
    message: split < 0 ? '' : body.slice(split + 2),
    file: file.type === 'blob' ? file.content.toString('utf8') : null,
  };
}

/** Whether the history of `after` has `before`; false also when `before` is not here. */
async function isAncestor(before: string, after: string, options: GitOptions): Promise<boolean> {
  try {
    await runGit(['merge-base', '--is-ancestor', '--end-of-options', before, after], options);
    return true;
  } catch (error) {
    // 1 is no, 128 is an unknown commit.
    if (error instanceof GitError && (error.exitCode === 1 || error.exitCode === 128)) return false;
    throw error;
  }
}

/** The paths that a push changed; null when `before` is not part of what it built on, so that there is nothing to compare. */
export async function changedPaths(before: string, after: string, options: GitOptions): Promise<string[] | null> {
  if (!(await isAncestor(before, after, options))) return null;
  return (await diffNames(before, after, options)).map((change) => change.path);
}
