import { DomainError } from '#core/errors.ts';
import { type GitOptions, GitError, runGit, startGit } from './command.ts';

/** 100644 file, 100755 executable, 120000 symbolic link, 160000 submodule. */
type FileMode = '100644' | '100755' | '120000' | '160000';

export interface TreeEntry {
  path: string;
  mode: FileMode;
  /** Git's hash of the content; for a submodule the commit it points to. */
  oid: string;
  /** 0 for a submodule. */
  sizeBytes: number;
}

export interface TreeLimits {
  filesMax: number;
  sizeBytesMax: number;
}

const pathBytesMax = 4_000;
const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodePath(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    const shown = JSON.stringify(bytes.toString('latin1'));
    throw new DomainError(
      'source-refused',
      `The file name ${shown} is not UTF-8; rename it, because most tools of a run cannot open it.`,
    );
  }
}

// Git itself knows only these modes; histories from before 2005 also have 100664.
function fileMode(mode: string): FileMode {
  if (mode === '120000' || mode === '160000' || mode === '100755') return mode;
  return '100644';
}

// `<mode> SP <type> SP <oid> SP* <size> TAB <path>`; directories are counted by the caller and answered as null.
function parseRecord(record: Buffer): TreeEntry | null {
  const tab = record.indexOf(9);
  const [mode = '', type = '', oid = '', size = '0'] = record.toString('latin1', 0, tab).split(/ +/);
  if (type === 'tree') return null;
  if (record.length - tab > pathBytesMax) {
    throw new DomainError('source-refused', `A file's path has more than ${pathBytesMax} bytes; shorten it.`);
  }
  const path = decodePath(record.subarray(tab + 1));
  return { path, mode: fileMode(mode), oid, sizeBytes: size === '-' ? 0 : Number(size) };
}

function tooLarge(what: string): DomainError {
  return new DomainError(
    'source-too-large',
    `The commit's tree has more than ${what}; take data and build products out of the repository ` +
      '(datasets go to the lake) or let the operator raise the limit.',
  );
}

function createCounter(limits: TreeLimits) {
  let entries = 0;
  let sizeBytes = 0;
  return (entry: TreeEntry | null): void => {
    entries += 1;
    sizeBytes += entry?.sizeBytes ?? 0;
    if (entries > limits.filesMax) throw tooLarge(`${limits.filesMax} files and folders`);
    if (sizeBytes > limits.sizeBytesMax) throw tooLarge(`${Math.floor(limits.sizeBytesMax / 1024 ** 2)} MiB`);
  };
}

async function* records(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0, start)) {
      yield rest.subarray(start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
  }
}

function byPath(a: TreeEntry, b: TreeEntry): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

function asNotFound(error: Error, commit: string): Error {
  if (!(error instanceof GitError) || !/not a tree object|not a valid object name/i.test(error.stderr)) return error;
  return new DomainError('commit-not-found', `The commit ${commit} is not known here; fetch or submit it again.`);
}

/**
 * Every file of a commit's tree, sorted by path. Folders are listed and counted too, so that a tree that unfolds into
 * billions of folders is stopped at `filesMax`. Throws source-too-large.
 */
export async function listTree(commit: string, limits: TreeLimits, options: GitOptions): Promise<TreeEntry[]> {
  const git = startGit(['ls-tree', '-r', '-t', '-z', '-l', '--full-tree', '--end-of-options', commit], options);
  git.stdin.end();
  const failed = git.done.then(
    () => null,
    (error: Error) => error,
  );
  const count = createCounter(limits);
  const entries: TreeEntry[] = [];
  try {
    for await (const record of records(git.stdout)) {
      const entry = parseRecord(record);
      count(entry);
      if (entry !== null) entries.push(entry);
    }
  } catch (error) {
    git.stop(error as Error);
  }
  const error = await failed;
  if (error !== null) throw asNotFound(error, commit);
  return entries.sort(byPath);
}

/**
 * A file's content, links inside the tree followed, or null when there is no such file. Throws source-too-large above
 * `sizeBytesMax`.
 */
export async function readFile(
  commit: string,
  path: string,
  sizeBytesMax: number,
  options: GitOptions,
): Promise<Buffer | null> {
  if (path === '' || path.includes('\0') || path.startsWith('/') || /(?:^|\/)\.{0,2}(?:\/|$)/.test(path)) return null;
  const output = await readBatch(`${commit}:${path}`, sizeBytesMax + 512, options).catch((error: unknown) => {
    if (!(error instanceof GitError) || error.failure !== 'output-limit') throw error;
    throw new DomainError('source-too-large', `The file ${path} has more than ${sizeBytesMax} bytes; make it smaller.`);
  });
  const end = output.indexOf(10);
  const match = /^[0-9a-f]+ blob (\d+)$/.exec(output.toString('latin1', 0, Math.min(end, 200)));
  if (match === null) return null;
  const sizeBytes = Number(match[1]);
  if (sizeBytes > sizeBytesMax) {
    throw new DomainError('source-too-large', `The file ${path} has ${sizeBytes} bytes; at most ${sizeBytesMax} fit.`);
  }
  return output.subarray(end + 1, end + 1 + sizeBytes);
}

function readBatch(name: string, outputBytesMax: number, options: GitOptions): Promise<Buffer> {
  return runGit(['cat-file', '--batch', '-z', '--follow-symlinks'], { ...options, stdin: `${name}\0`, outputBytesMax });
}

export interface PathChange {
  /** A added, M modified, D deleted, T type changed. */
  status: string;
  path: string;
}

/** The paths that differ between two commits, without guessing renames, sorted by path. */
export async function diffNames(before: string, after: string, options: GitOptions): Promise<PathChange[]> {
  const args = ['diff-tree', '-r', '-z', '--name-status', '--no-renames', '--no-ext-diff', '--end-of-options'];
  const fields = (await runGit([...args, before, after], options)).toString('utf8').split('\0');
  const changes: PathChange[] = [];
  for (let n = 0; n + 1 < fields.length; n += 2) changes.push({ status: fields[n] ?? '', path: fields[n + 1] ?? '' });
  return changes;
}
