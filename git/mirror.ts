// One bare repository per project. It is the only copy of a project's code that the server reads, and everything in it
// is complete: objects enter through a quarantine, and nothing is ever pruned.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { archiveTree } from './archive.ts';
import type { GitOptions } from './command.ts';
import { knownCommits, type ResolvedCommit, resolveReference } from './commit.ts';
import { type CodeDiff, type CodeSide, diffCode } from './diff.ts';
import { extractSource } from './extract.ts';
import { fetchInto, type FetchResult, readHeads } from './fetch.ts';
import { ingest } from './ingest.ts';
import { inspectTree, refuseFindings, type SourceFinding } from './inspect.ts';
import { createCoalescer, createKeyedQueue } from './keyed-queue.ts';
import { maintain, removeStaleFiles, requireGit } from './maintenance.ts';
import { ignoreMissing, initRepository, sweepQuarantine } from './quarantine.ts';
import { changedPaths, type CommitFile, readCommitFile } from './pushed.ts';
import { parseCommit, parseReference } from './reference.ts';
import { pinCommand, updateRefs } from './refs.ts';
import { hasTree, rebuildTree } from './rebuild.ts';
import { rememberCommits } from './remember.ts';
import { parseRemote, type Remote } from './remote.ts';
import type { RemoteCredentials } from './transport.ts';
import { diffNames, listTree, type PathChange, readFile, type TreeEntry } from './tree.ts';

export interface MirrorLimits {
  /** Of one bundle, of one fetch, and of one commit's unpacked tree. */
  sizeBytesMax: number;
  filesMax: number;
  /** Of one git command. */
  timeoutMs: number;
}

export interface MirrorOptions {
  rootDir: string;
  limits: MirrorLimits;
  allowPrivateRemotes: boolean;
  /** The project's stored login for a host, or null. */
  credentials?: (projectId: string, host: string) => Promise<RemoteCredentials | null>;
  /** A file of extra certificate authorities for https remotes. */
  certificateFile?: string;
}

export interface Mirrors {
  /** Makes the project's mirror if it is missing. */
  ensure(projectId: string): Promise<void>;
  fetchRemote(projectId: string, url: string, signal?: AbortSignal): Promise<FetchResult>;
  /** Branch → commit as the remote answers at this moment; nothing is fetched. */
  remoteHeads(projectId: string, url: string, signal?: AbortSignal): Promise<Map<string, string>>;
  resolve(projectId: string, reference: string): Promise<ResolvedCommit>;
  /** The full hashes among `shas` that are commits here; a bundle may build on them. */
  hasCommits(projectId: string, shas: readonly string[]): Promise<string[]>;
  ingestBundle(projectId: string, bundlePath: string, commit: string, signal?: AbortSignal): Promise<ResolvedCommit>;
  /** Keeps a commit although no branch may have it any more. */
  pin(projectId: string, commit: string): Promise<void>;
  listTree(projectId: string, commit: string): Promise<TreeEntry[]>;
  readFile(projectId: string, commit: string, path: string, sizeBytesMax: number): Promise<Buffer | null>;
  /** A commit's message with one of its files; null when the commit is not here. */
  readCommitFile(projectId: string, commit: string, path: string, sizeBytesMax: number): Promise<CommitFile | null>;
  diffNames(projectId: string, before: string, after: string): Promise<PathChange[]>;
  /** What changed, across projects too, with at most `patchBytesMax` bytes of the patch. */
  diffCode(sides: { before: CodeSide; after: CodeSide }, patchBytesMax: number): Promise<CodeDiff>;
  /** The paths a push changed; null when `after` does not build on `before`. */
  changedPaths(projectId: string, before: string, after: string): Promise<string[] | null>;
  /** Throws source-refused for submodules, LFS pointers and links out of the tree; answers notes. */
  inspectSource(projectId: string, commit: string, entries?: readonly TreeEntry[]): Promise<SourceFinding[]>;
  /** A tar of the commit's tree; equal trees give equal bytes. The caller reads it to its end or destroys it. */
  archive(projectId: string, commit: string): Promise<Readable>;
  checkout(projectId: string, commit: string, destDir: string): Promise<void>;
  /**
   * Sees to it that the tree can be listed and read, made again from its archive where the mirror does not have it or is
   * gone itself. Answers whether it had to be. Throws source-refused when the archive is of another tree.
   */
  ensureTree(projectId: string, tree: string, openArchive: () => Promise<Readable>): Promise<boolean>;
  /** Removes what dead processes left. Runs by itself before the first use. */
  sweep(): Promise<void>;
}

type Repository = GitOptions & { gitDir: string };

/** Asking a remote for its heads is one small answer. */
const lookMsMax = 30_000;

// A caller may stop waiting; the shared work goes on for the others and is bounded by its own time cap.
function abandonable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  return Promise.race([work, aborted.promise]).finally(() => signal.removeEventListener('abort', onAbort));
}

async function createRepository(gitDir: string): Promise<void> {
  if ((await stat(join(gitDir, 'HEAD')).catch(ignoreMissing)) !== null) return;
  const fresh = `${gitDir}.${randomUUID()}`;
  await initRepository(fresh);
  await rename(fresh, gitDir).catch(async (error: NodeJS.ErrnoException) => {
    await rm(fresh, { recursive: true, force: true });
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
}

/** Opens mirrors by project: prepares the root once and each repository once, again after a failure. */
function createOpener(options: MirrorOptions, sweep: () => Promise<void>) {
  const opened = new Map<string, Promise<Repository>>();
  let prepared: Promise<void> | null = null;

  const prepare = async (): Promise<void> => {
    await requireGit();
    await mkdir(options.rootDir, { recursive: true, mode: 0o700 });
    await sweep();
  };

  const open = async (projectId: string): Promise<Repository> => {
    assert.match(projectId, /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/, 'project ids are made by the server');
    prepared ??= prepare();
    await prepared.catch((error: unknown) => {
      prepared = null;
      throw error;
    });
    const gitDir = join(options.rootDir, `${projectId}.git`);
    await createRepository(gitDir);
    return { gitDir, timeoutMs: options.limits.timeoutMs };
  };

  return (projectId: string): Promise<Repository> => {
    const known = opened.get(projectId);
    if (known !== undefined) return known;
    const opening = open(projectId);
    opened.set(projectId, opening);
    opening.catch(() => opened.delete(projectId));
    return opening;
  };
}

/** The writing half: everything that puts commits into a mirror. */
function createWriters(options: MirrorOptions, open: (projectId: string) => Promise<Repository>) {
  const { rootDir, limits } = options;
  const inTurn = createKeyedQueue();
  const coalesce = createCoalescer();
  const credentials = options.credentials ?? (async () => null);

  const fetchOptions = async (projectId: string, remote: Remote, mirror: Repository) => ({
    rootDir,
    mirrorDir: mirror.gitDir,
    remote,
    credentials: await credentials(projectId, remote.host),
    allowPrivateRemotes: options.allowPrivateRemotes,
    certificateFile: options.certificateFile ?? null,
    sizeBytesMax: limits.sizeBytesMax,
    timeoutMs: limits.timeoutMs,
  });

  const fetchNow = async (projectId: string, remote: Remote): Promise<FetchResult> => {
    const mirror = await open(projectId);
    const result = await fetchInto(await fetchOptions(projectId, remote, mirror));
    await maintain(mirror);
    return result;
  };

  const heads = async (projectId: string, remote: Remote, signal?: AbortSignal): Promise<Map<string, string>> => {
    const asked = await fetchOptions(projectId, remote, await open(projectId));
    return await readHeads({ ...asked, timeoutMs: Math.min(limits.timeoutMs, lookMsMax), ...(signal && { signal }) });
  };

  const take = async (projectId: string, bundlePath: string, commit: string, signal?: AbortSignal): Promise<void> => {
    const mirror = await open(projectId);
    if ((await knownCommits([commit], mirror)).length === 0) {
      await ingest(rootDir, mirror.gitDir, bundlePath, commit, limits, signal);
    }
    await updateRefs([pinCommand(commit)], mirror);
    await inTurn(projectId, () => maintain(mirror));
  };

  return {
    heads,
    fetch: (projectId: string, remote: Remote): Promise<FetchResult> =>
      coalesce(`${projectId} ${remote.url}`, () => inTurn(projectId, () => fetchNow(projectId, remote))),
    ingest: (projectId: string, bundlePath: string, commit: string, signal?: AbortSignal): Promise<void> =>
      inTurn(`${projectId} ${commit}`, () => take(projectId, bundlePath, commit, signal)),
  };
}

function checked(side: CodeSide): CodeSide {
  return { ...side, commit: parseCommit(side.commit) };
}

export function createMirrors(options: MirrorOptions): Mirrors {
  const { rootDir, limits } = options;
  const sweep = async (): Promise<void> => {
    await sweepQuarantine(rootDir, limits.timeoutMs * 10 + 3_600_000);
    await removeStaleFiles(rootDir, limits.timeoutMs * 2);
  };
  const open = createOpener(options, sweep);
  const write = createWriters(options, open);

  const resolve = async (projectId: string, reference: string): Promise<ResolvedCommit> =>
    resolveReference(reference, parseReference(reference), await open(projectId));
  const list = async (projectId: string, commit: string): Promise<TreeEntry[]> => {
    const sha = parseCommit(commit);
    return listTree(sha, limits, await open(projectId));
  };
  const archive = async (projectId: string, commit: string): Promise<Readable> => {
    const entries = await list(projectId, commit);
    return archiveTree(entries, await open(projectId));
  };

  return rememberCommits({
    sweep,
    resolve,
    archive,
    listTree: list,
    ensure: async (projectId) => void (await open(projectId)),
    fetchRemote: async (projectId, url, signal) => abandonable(write.fetch(projectId, parseRemote(url)), signal),
    remoteHeads: async (projectId, url, signal) => write.heads(projectId, parseRemote(url), signal),
    ingestBundle: async (projectId, bundlePath, commit, signal) => {
      const sha = parseCommit(commit);
      await write.ingest(projectId, bundlePath, sha, signal);
      return resolve(projectId, sha);
    },
    hasCommits: async (projectId, shas) => knownCommits(shas.map(parseCommit), await open(projectId)),
    pin: async (projectId, commit) => updateRefs([pinCommand(parseCommit(commit))], await open(projectId)),
    readFile: async (projectId, commit, path, sizeBytesMax) =>
      readFile(parseCommit(commit), path, sizeBytesMax, await open(projectId)),
    readCommitFile: async (projectId, commit, path, sizeBytesMax) =>
      readCommitFile(parseCommit(commit), path, sizeBytesMax, await open(projectId)),
    diffNames: async (projectId, before, after) =>
      diffNames(parseCommit(before), parseCommit(after), await open(projectId)),
    diffCode: async ({ before, after }, patchBytesMax) => {
      const sides = { before: checked(before), after: checked(after) };
      const gitDirOf = async (projectId: string) => (await open(projectId)).gitDir;
      return diffCode(rootDir, gitDirOf, sides, patchBytesMax, { timeoutMs: limits.timeoutMs });
    },
    changedPaths: async (projectId, before, after) =>
      changedPaths(parseCommit(before), parseCommit(after), await open(projectId)),
    inspectSource: async (projectId, commit, entries) => {
      const findings = await inspectTree(entries ?? (await list(projectId, commit)), await open(projectId));
      refuseFindings(findings);
      return findings;
    },
    ensureTree: async (projectId, tree, openArchive) => {
      const sha = parseCommit(tree);
      const mirror = await open(projectId);
      // Its folder may have gone since it was opened.
      await createRepository(mirror.gitDir);
      if (await hasTree(sha, mirror)) return false;
      await rebuildTree(rootDir, mirror, sha, await openArchive());
      return true;
    },
    checkout: async (projectId, commit, destDir) =>
      extractSource(await archive(projectId, commit), destDir, { limits }),
  });
}
