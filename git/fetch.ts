// Brings a remote's branches and tags into the mirror.
import { DomainError } from '#core/errors.ts';
import { type GitOptions, runGit } from './command.ts';
import { movePacks, type Quarantine, transferredBytes, withQuarantine } from './quarantine.ts';
import { updateRefs } from './refs.ts';
import type { Remote } from './remote.ts';
import { asRefusal, transportOptions, type TransportOptions } from './transport.ts';

export interface FetchOptions extends TransportOptions {
  mirrorDir: string;
  sizeBytesMax: number;
}

interface RefChange {
  /** Full name, refs/heads/… or refs/tags/…. */
  ref: string;
  before: string | null;
  after: string | null;
}

export interface FetchResult {
  defaultBranch: string | null;
  changed: RefChange[];
}

interface RemoteRefs {
  defaultBranch: string | null;
  refs: Map<string, string>;
}

const refListBytesMax = 32 * 1024 ** 2;
const sizeCheckEveryMs = 250;

async function listRemote(remote: Remote, git: GitOptions): Promise<RemoteRefs> {
  const args = [
    'ls-remote',
    '--quiet',
    '--symref',
    '--end-of-options',
    remote.url,
    'HEAD',
    'refs/heads/*',
    'refs/tags/*',
  ];
  const output = await runGit(args, { ...git, outputBytesMax: refListBytesMax });
  const refs = new Map<string, string>();
  let defaultBranch: string | null = null;
  for (const line of output.toString('utf8').split('\n')) {
    const [left = '', ref = ''] = line.split('\t');
    if (ref === 'HEAD' && left.startsWith('ref: refs/heads/')) defaultBranch = left.slice('ref: refs/heads/'.length);
    else if (/^refs\/(?:heads|tags)\//.test(ref) && !ref.endsWith('^{}')) refs.set(ref, left);
  }
  return { defaultBranch: refs.has(`refs/heads/${defaultBranch}`) ? defaultBranch : null, refs };
}

async function listLocal(git: GitOptions): Promise<Map<string, string>> {
  const args = ['for-each-ref', '--format=%(objectname)%09%(refname)', 'refs/heads/', 'refs/tags/'];
  const lines = (await runGit(args, git)).toString('utf8').split('\n').filter(Boolean);
  return new Map(lines.map((line) => [line.slice(line.indexOf('\t') + 1), line.slice(0, line.indexOf('\t'))]));
}

function difference(before: Map<string, string>, after: Map<string, string>): RefChange[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  const all = [...names].map((ref) => ({ ref, before: before.get(ref) ?? null, after: after.get(ref) ?? null }));
  return all.filter((change) => change.before !== change.after);
}

// Git has no size cap for a fetch, so the quarantine is watched and the fetch ended when it grows past the cap.
async function transfer(options: FetchOptions, place: Quarantine, git: GitOptions): Promise<void> {
  const tooLarge = new AbortController();
  const signal = options.signal === undefined ? tooLarge.signal : AbortSignal.any([options.signal, tooLarge.signal]);
  const check = async () => {
    if ((await transferredBytes(place)) > options.sizeBytesMax) tooLarge.abort(tooLargeError(options));
  };
  const timer = setInterval(() => void check().catch((error: unknown) => tooLarge.abort(error)), sizeCheckEveryMs);
  const flags = ['--quiet', '--no-tags', '--no-write-fetch-head', '--no-auto-maintenance', '--no-recurse-submodules'];
  const refspecs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];
  try {
    await runGit(['fetch', ...flags, '--end-of-options', options.remote.url, ...refspecs], { ...git, signal });
    await check();
    signal.throwIfAborted();
  } finally {
    clearInterval(timer);
  }
}

function tooLargeError(options: FetchOptions): DomainError {
  return new DomainError(
    'source-too-large',
    `The remote ${options.remote.url} sends more than ${options.sizeBytesMax} bytes; ` +
      'take large files out of its history or let the operator raise the limit.',
  );
}

type Repository = GitOptions & { gitDir: string };

/** Deletions come first and apart: a branch `a` must be gone before `a/b` can exist. */
async function moveRefs(changes: readonly RefChange[], git: Repository): Promise<void> {
  const [removed, kept] = [changes.filter((one) => one.after === null), changes.filter((one) => one.after !== null)];
  await updateRefs(
    removed.map((change) => `delete ${change.ref}`),
    git,
  );
  await updateRefs(
    kept.map((change) => `update ${change.ref} ${change.after}`),
    git,
  );
}

async function readDefaultBranch(git: GitOptions): Promise<string> {
  return (await runGit(['symbolic-ref', '--quiet', 'HEAD'], git)).toString('utf8').trim();
}

async function moveHead(defaultBranch: string | null, git: GitOptions): Promise<void> {
  const target = `refs/heads/${defaultBranch}`;
  if (defaultBranch === null || (await readDefaultBranch(git)) === target) return;
  await runGit(['symbolic-ref', 'HEAD', target], git);
}

/** Objects first, references second, so that no reference ever names what is not there. */
async function publish(options: FetchOptions, place: Quarantine, mirror: Repository): Promise<RefChange[]> {
  const fetched = await listLocal({ ...mirror, gitDir: place.gitDir });
  await movePacks(place, options.mirrorDir);
  const changed = difference(await listLocal(mirror), fetched);
  await moveRefs(changed, mirror);
  return changed;
}

/**
 * Makes the mirror's branches and tags equal to the remote's; commits that a branch no longer has stay. Throws
 * invalid-remote, source-refused and source-too-large; an unreachable remote is a GitError, worth another try.
 */
export async function fetchInto(options: FetchOptions): Promise<FetchResult> {
  const mirror: Repository = { gitDir: options.mirrorDir, ...(options.signal && { signal: options.signal }) };
  return withQuarantine(options.rootDir, options.mirrorDir, async (place) => {
    const git = await transportOptions(options, place);
    let changed: RefChange[] = [];
    const offered = await listRemote(options.remote, git).catch((error: unknown) => {
      throw asRefusal(error, options.remote);
    });
    if (difference(await listLocal(mirror), offered.refs).length > 0) {
      await transfer(options, place, git).catch((error: unknown) => {
        throw asRefusal(error, options.remote);
      });
      changed = await publish(options, place, mirror);
    }
    await moveHead(offered.defaultBranch, mirror);
    return { defaultBranch: offered.defaultBranch, changed };
  });
}

const heads = 'refs/heads/';

/** Branch → commit as the remote answers at this moment. Throws as a fetch does. */
export async function readHeads(options: FetchOptions): Promise<Map<string, string>> {
  return withQuarantine(options.rootDir, options.mirrorDir, async (place) => {
    const git = await transportOptions(options, place);
    const { refs } = await listRemote(options.remote, git).catch((error: unknown) => {
      throw asRefusal(error, options.remote);
    });
    const branches = [...refs].filter(([ref]) => ref.startsWith(heads));
    return new Map(branches.map(([ref, commit]) => [ref.slice(heads.length), commit]));
  });
}
