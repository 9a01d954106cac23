// How git reaches a remote: with which addresses, logins and keys, and what its failures mean.
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type GitOptions, GitError } from './command.ts';
import type { Quarantine } from './quarantine.ts';
import type { Remote } from './remote.ts';
import { publicAddresses } from './remote-address.ts';

/** For https a login with a token; for ssh a private key and, if known, the host's public keys. */
export type RemoteCredentials =
  | { kind: 'https'; username: string; password: string }
  | { kind: 'ssh'; privateKey: string; knownHosts?: string };

export interface TransportOptions {
  rootDir: string;
  remote: Remote;
  credentials: RemoteCredentials | null;
  allowPrivateRemotes: boolean;
  certificateFile: string | null;
  timeoutMs: number;
  signal?: AbortSignal;
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}

async function httpsConfig(
  options: TransportOptions,
  place: Quarantine,
  pins: string[],
): Promise<Record<string, string>> {
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

function certificateVariables(options: TransportOptions): Record<string, string> {
  return options.certificateFile === null ? {} : { GIT_SSL_CAINFO: options.certificateFile };
}

// ssh gets a configuration file of its own, so neither the account's keys nor its settings take part.
async function sshEnvironment(
  options: TransportOptions,
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

/** What git is started with to reach the remote from this quarantine. Throws invalid-remote for inside addresses. */
export async function transportOptions(options: TransportOptions, place: Quarantine): Promise<GitOptions> {
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
export function asRefusal(error: unknown, remote: Remote): unknown {
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
