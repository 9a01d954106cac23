// What the command line reads from the user's own checkout. Git runs here with the user's configuration, and nothing in
// the checkout is changed: what has to be written goes to a temporary folder.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, lstat, mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { DomainError } from '#core/errors.ts';

interface PathState {
  /** Two letters of `git status`: index and working tree; `??` is untracked. */
  status: string;
  path: string;
}

export interface Checkout {
  root: string;
  /** HEAD. */
  commit: string;
  /** Null when HEAD is detached. */
  branch: string | null;
  /** The upstream's URL, or origin's; null without one. */
  remote: string | null;
  /** Tracked files that differ from HEAD. */
  dirty: PathState[];
  untracked: string[];
  /** A shallow clone lacks history and cannot be sent. */
  isShallow: boolean;
}

/** The working tree as a commit that exists only in `objectDir`. */
export interface WorkingTreeCommit {
  commit: string;
  /** The difference to HEAD, binary files included. */
  patch: Buffer;
  objectDir: string;
  remove(): Promise<void>;
}

const outputBytesMax = 256 * 1024 ** 2;
const untrackedBytesMax = 256 * 1024 ** 2;
const run = promisify(execFile);

function refuse(message: string): DomainError {
  return new DomainError('source-refused', message);
}

type Variables = Record<string, string>;

async function git(dir: string, args: readonly string[], variables: Variables = {}, input = ''): Promise<Buffer> {
  const env = { ...process.env, LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0', ...variables };
  const running = run('git', [...args], { cwd: dir, env, encoding: 'buffer', maxBuffer: outputBytesMax });
  // Git may end without reading its input; its exit code says whether that is an error.
  running.child.stdin?.on('error', () => undefined).end(input);
  return (await running).stdout;
}

async function text(dir: string, args: readonly string[], variables: Variables = {}): Promise<string> {
  return (await git(dir, args, variables)).toString('utf8').trim();
}

/** Git's answer, or null when it exits with an error, which for these questions means "there is none". */
async function ask(dir: string, args: readonly string[], input = ''): Promise<string | null> {
  try {
    return (await git(dir, args, {}, input)).toString('utf8').trim();
  } catch (error) {
    if (typeof (error as { code?: unknown }).code === 'number') return null;
    throw missingGit(error);
  }
}

function missingGit(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error;
  return new DomainError('invalid-request', 'git was not found on PATH; install git 2.39 or newer.');
}

async function readRemote(root: string, branch: string | null): Promise<string | null> {
  const upstream = branch === null ? null : await ask(root, ['config', '--get', `branch.${branch}.remote`]);
  const name = upstream === null || upstream === '.' ? 'origin' : upstream;
  const url = await ask(root, ['remote', 'get-url', '--', name]);
  // Logins kept in the address are the user's own and stay on this machine.
  return url?.replace(/^(https?:\/\/)[^/@]*@/i, '$1') ?? null;
}

// Records of `git status --porcelain=v2 -z`: a rename is followed by one more field, its old path.
function parseStatus(output: string): PathState[] {
  const fields = output.split('\0').filter(Boolean);
  const states: PathState[] = [];
  for (let n = 0; n < fields.length; n += 1) {
    const field = fields[n] ?? '';
    const kind = field[0];
    if (kind === '?') states.push({ status: '??', path: field.slice(2) });
    const spaces = kind === '1' ? 8 : kind === '2' ? 9 : kind === 'u' ? 10 : 0;
    if (spaces > 0) states.push({ status: field.slice(2, 4), path: field.split(' ').slice(spaces).join(' ') });
    if (kind === '2') n += 1;
  }
  return states;
}

/** Throws source-refused outside a git checkout and in one without a commit. */
export async function readCheckout(dir: string): Promise<Checkout> {
  const root = await ask(dir, ['rev-parse', '--show-toplevel']);
  if (root === null) throw refuse(`${dir} is not inside a git checkout; run git init and commit, then try again.`);
  const commit = await ask(root, ['rev-parse', '--verify', '--quiet', 'HEAD^{commit}']);
  if (commit === null) throw refuse(`${root} has no commit yet; run git add and git commit first.`);
  const branch = await ask(root, ['symbolic-ref', '--quiet', '--short', 'HEAD']);
  const states = parseStatus((await git(root, ['status', '--porcelain=v2', '-z', '--untracked-files=all'])).toString());
  return {
    root,
    commit,
    branch,
    remote: await readRemote(root, branch),
    dirty: states.filter((state) => state.status !== '??'),
    untracked: states.filter((state) => state.status === '??').map((state) => state.path),
    isShallow: (await ask(root, ['rev-parse', '--is-shallow-repository'])) === 'true',
  };
}

/** HEAD's newest commits, newest first: what the server is asked about before a bundle is made. */
export async function recentCommits(dir: string, commitsMax: number): Promise<string[]> {
  return (await text(dir, ['rev-list', `--max-count=${commitsMax}`, 'HEAD'])).split('\n').filter(Boolean);
}

/** Those of `paths` that git ignores, so that no commit will ever carry them. */
export async function ignoredPaths(dir: string, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const output = await ask(dir, ['check-ignore', '-z', '--stdin'], paths.map((path) => `${path}\0`).join(''));
  return (output ?? '').split('\0').filter(Boolean);
}

// The objects of a synthetic commit lie outside the checkout's own object folder.
async function objectVariables(root: string, objectDir: string | undefined): Promise<Variables> {
  if (objectDir === undefined) return {};
  const own = await text(root, ['rev-parse', '--git-path', 'objects']);
  return { GIT_OBJECT_DIRECTORY: objectDir, GIT_ALTERNATE_OBJECT_DIRECTORIES: resolve(root, own) };
}

async function writePack(root: string, file: string, header: string, revisions: string, env: Variables): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.write(header);
    const args = ['pack-objects', '--revs', '--thin', '--stdout', '--quiet', '--delta-base-offset'];
    const child = spawn('git', args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['pipe', handle.fd, 'inherit'],
    });
    child.stdin?.end(revisions);
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`git pack-objects ended with exit code ${code}`);
  } finally {
    await handle.close();
  }
}

/**
 * A bundle with `commit` and what it needs beyond the commits in `have`. It is written by hand, because `git bundle`
 * wants a reference and the checkout gets none. The caller removes the file's folder.
 */
export async function createBundle(
  dir: string,
  commit: string,
  have: readonly string[],
  objectDir?: string,
): Promise<string> {
  const root = await text(dir, ['rev-parse', '--show-toplevel']);
  if ((await text(root, ['rev-parse', '--is-shallow-repository'])) === 'true') {
    throw refuse(`${root} is a shallow clone, which lacks history; run git fetch --unshallow first.`);
  }
  if ((await text(root, ['rev-parse', '--show-object-format'])) !== 'sha1') {
    throw refuse(`${root} uses SHA-256 objects, which are not supported yet; use a repository with SHA-1 objects.`);
  }
  const file = join(await mkdtemp(join(tmpdir(), 'assay-bundle-')), 'commit.bundle');
  const prerequisites = have.map((sha) => `-${sha}\n`).join('');
  const header = `# v2 git bundle\n${prerequisites}${commit} refs/assay/commit\n\n`;
  const revisions = `${commit}\n${have.map((sha) => `^${sha}\n`).join('')}`;
  try {
    await writePack(root, file, header, revisions, await objectVariables(root, objectDir));
  } catch (error) {
    await rm(dirname(file), { recursive: true, force: true });
    throw error;
  }
  return file;
}

async function checkUntracked(checkout: Checkout): Promise<void> {
  const sizes = await Promise.all(
    checkout.untracked.map(async (path) => ({ path, sizeBytes: (await lstat(join(checkout.root, path))).size })),
  );
  const totalBytes = sizes.reduce((sum, one) => sum + one.sizeBytes, 0);
  if (totalBytes <= untrackedBytesMax) return;
  const largest = sizes.toSorted((a, b) => b.sizeBytes - a.sizeBytes).slice(0, 3);
  const named = largest.map((one) => `${one.path} (${Math.ceil(one.sizeBytes / 1024 ** 2)} MiB)`).join(', ');
  throw refuse(`The untracked files are larger than 256 MiB in all: ${named}; ignore them or add them as a dataset.`);
}

/** The author and time come from nothing but HEAD, so that equal working trees give equal commits. */
async function identity(root: string): Promise<Variables> {
  const date = `${await text(root, ['show', '--no-patch', '--format=%ct', 'HEAD'])} +0000`;
  const names = { GIT_AUTHOR_NAME: 'working tree', GIT_AUTHOR_EMAIL: 'working-tree@localhost', GIT_AUTHOR_DATE: date };
  const { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email } = names;
  return { ...names, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email, GIT_COMMITTER_DATE: date };
}

// A copy of the index keeps its stat cache, so only changed files are hashed.
async function copyIndex(root: string, to: string): Promise<void> {
  const path = await text(root, ['rev-parse', '--git-path', 'index']);
  await copyFile(isAbsolute(path) ? path : join(root, path), to);
}

async function commitWorkingTree(checkout: Checkout, dir: string): Promise<Omit<WorkingTreeCommit, 'remove'>> {
  const { root } = checkout;
  const objectDir = join(dir, 'objects');
  await mkdir(objectDir);
  const variables = {
    ...(await objectVariables(root, objectDir)),
    ...(await identity(root)),
    GIT_INDEX_FILE: join(dir, 'index'),
  };
  await copyIndex(root, variables.GIT_INDEX_FILE);
  await git(root, ['add', '--all', '--', '.'], variables);
  const tree = await text(root, ['write-tree'], variables);
  const message = `Uncommitted changes on ${checkout.commit}`;
  const commit = await text(
    root,
    ['commit-tree', '--no-gpg-sign', '-p', checkout.commit, '-m', message, tree],
    variables,
  );
  const patch = await git(
    root,
    ['diff', '--binary', '--full-index', '--no-ext-diff', '--no-textconv', '--no-color', checkout.commit, commit],
    variables,
  );
  return { commit, patch, objectDir };
}

/**
 * The working tree with its untracked files as a commit on top of HEAD, and as a patch. Give `objectDir` to createBundle
 * and call `remove` afterwards. The checkout, its index and its objects stay as they are.
 */
export async function createPatch(dir: string): Promise<WorkingTreeCommit> {
  const checkout = await readCheckout(dir);
  await checkUntracked(checkout);
  const temporary = await mkdtemp(join(tmpdir(), 'assay-tree-'));
  const remove = () => rm(temporary, { recursive: true, force: true });
  try {
    return { ...(await commitWorkingTree(checkout, temporary)), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
