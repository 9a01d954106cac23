// Brings a remote's branches and tags into the mirror.
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type GitOptions, GitError, runGit } from './command.ts';
import { movePacks, type Quarantine, transferredBytes, withQuarantine } from './quarantine.ts';
import { updateRefs } from './refs.ts';
import type { Remote } from './remote.ts';
import { publicAddresses } from './remote-address.ts';

/** For https a login with a token; for ssh a private key and, if known, the host's public keys. */
export type RemoteCredentials =
  | { kind: 'https'; username: string; password: string }
  | { kind: 'ssh'; privateKey: string; knownHosts?: string };

export interface FetchOptions {
  rootDir: string;
  mirrorDir: string;
  remote: Remote;
  credentials: RemoteCredentials | null;
  allowPrivateRemotes: boolean;
  certificateFile: string | null;
  sizeBytesMax: number;
  timeoutMs: number;
  signal?: AbortSignal;
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

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}

async function httpsConfig(options: FetchOptions, place: Quarantine, pins: string[]): Promise<Record<string, string>> {
  const { remote, credentials } = options;
  const config: Record<string, string> = {};
  if (pins.length > 0 && isIP(remote.host) === 0) {
    config['http.curloptResolve'] = `${remote.host}:${remote.port}:${pins.map(bracketed).join(',')}`;
  }
  if (options.allowPrivateRemotes) config['http.followRedirects'] = 'initial';
  if (credentials?.kind !== 'https') return config;
  const login = `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}`;
  const file = join(place.dir, 'credentials');
  await writeFile(file, `https://${login}@${new URL(remote.url).host}\n`, { mode: 0o600 });
  return { ...config, 'credential.helper': `store --file=${quoted(file)}` };
}

function certificateVariables(options: FetchOptions): Record<string, string> {
  return options.certificateFile === null ? {} : { GIT_SSL_CAINFO: options.certificateFile };
}

// ssh gets a configuration file of its own, so neither the account's keys nor its settings take part.
async function sshEnvironment(
  options: FetchOptions,
  place: Quarantine,
  pins: string[],
): Promise<Record<string, string>> {
  const { remote, credentials } = options;
  const key = join(place.dir, 'ssh-key');
  const knownHosts = join(options.rootDir, 'known-hosts');
  const given = credentials?.kind === 'ssh' ? credentials : null;
  const givenHosts = join(place.dir, 'known-hosts');
  if (given !== null) await writeFile(key, `${given.privateKey.trimEnd()}\n`, { mode: 0o600 });
  if (given?.knownHosts !== undefined) await writeFile(givenHosts, `${given.knownHosts.trimEnd()}\n`, { mode: 0o600 });
  const lines = [
    'Host *',
    `HostName ${pins[0] ?? remote.host}`,
    `HostKeyAlias ${remote.host}`,
    'BatchMode yes',
    'IdentitiesOnly yes',
    'IdentityAgent none',
    `IdentityFile ${given === null ? 'none' : `"${key}"`}`,
    `UserKnownHostsFile "${given?.knownHosts === undefined ? knownHosts : givenHosts}"`,
    `StrictHostKeyChecking ${given?.knownHosts === undefined ? 'accept-new' : 'yes'}`,
    'ForwardAgent no',
    'ClearAllForwardings yes',
    'PermitLocalCommand no',
    'ConnectTimeout 20',
    'ServerAliveInterval 20',
  ];
  const file = join(place.dir, 'ssh-config');
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return { GIT_SSH_COMMAND: `ssh -F ${quoted(file)}`, GIT_SSH_VARIANT: 'ssh' };
}

async function transportOptions(options: FetchOptions, place: Quarantine): Promise<GitOptions> {
  const pins = options.allowPrivateRemotes ? [] : await publicAddresses(options.remote);
  const https = options.remote.protocol === 'https';
  return {
    gitDir: place.gitDir,
    transport: 'remote',
    timeoutMs: options.timeoutMs,
    ...(options.signal && { signal: options.signal }),
    ...(https
      ? { config: await httpsConfig(options, place, pins), env: certificateVariables(options) }
      : { env: await sshEnvironment(options, place, pins) }),
  };
}

const refusals: readonly [RegExp, string][] = [
  [
    /could not read (?:Username|Password)|Authentication failed|returned error: 40[13]|Permission denied/i,
    'refused access; store a login for its host as a secret, or check that the stored one may read it',
  ],
  [
    /repository .*not found|returned error: 404|does not appear to be a git repository|access rights/i,
    'has no such repository, or hides it from this login; check the address and the stored secret',
  ],
  [/unable to update url base from redirection|returned error: 30\d/i, 'redirects elsewhere; give its final address'],
  [/certificate/i, 'shows a certificate that no known authority signed; let the operator add the authority'],
  [/Host key verification failed/i, 'shows another host key than the known one; check it and update the known hosts'],
  [
    /mismatched algorithms|unsupported object format|object format/i,
    'uses SHA-256 objects, which are not supported yet',
  ],
];

// What the remote says is quoted nowhere: a hostile one would write into our messages.
function asRefusal(error: unknown, remote: Remote): unknown {
  if (!(error instanceof GitError) || error.failure !== 'exit') return error;
  const found = refusals.find(([pattern]) => pattern.test(error.stderr));
  if (found !== undefined) return new DomainError('invalid-remote', `The remote ${remote.url} ${found[1]}.`);
  if (!/fsck error|error in object|missing (?:blob|tree|commit)|did not send all necessary/i.test(error.stderr)) {
    return error;
  }
  return new DomainError(
    'source-refused',
    `The remote ${remote.url} sent objects that are damaged or break git's rules; run git fsck there and repair them.`,
  );
}

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
