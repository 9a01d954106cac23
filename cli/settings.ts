// Which server the CLI talks to, and with which token. What is said explicitly wins: variables, then `assay login`, then
// the stack that runs on this machine.
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { CliError } from './errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Server {
  /** Without a trailing slash. */
  url: string;
  token: string | null;
  /** Where the token came from, for `doctor` and for messages. */
  source: string;
}

const hostsFile = z.object({
  current: z.string().nullable(),
  hosts: z.record(z.string(), z.object({ token: z.string(), owner: z.string() })),
});
export type Hosts = z.infer<typeof hostsFile>;

const defaultUrl = 'http://127.0.0.1:7410';
const onlyOwner = 0o600;

/** The server to use; its token is null when nobody logged in and no stack of this machine is known. */
export async function findServer(env: Environment): Promise<Server> {
  const hosts = await readHosts(env);
  const stack = await findLocalStack(env);
  if (env.ASSAY_URL) return withKnownToken(trimSlash(env.ASSAY_URL), env, hosts, stack);
  if (env.ASSAY_TOKEN) {
    const url = hosts.current ?? stack?.url ?? defaultUrl;
    return { url, token: env.ASSAY_TOKEN, source: 'ASSAY_TOKEN' };
  }
  if (stack && env.ASSAY_HOME) return stack;
  const current = hosts.current === null ? undefined : hosts.hosts[hosts.current];
  if (hosts.current !== null && current) {
    return { url: hosts.current, token: current.token, source: hostsPath(env) };
  }
  return stack ?? { url: defaultUrl, token: null, source: 'none' };
}

/**
 * The variables under which the server at `address` is the one to use; the host of one that was logged in to will do.
 * @throws CliError when the host fits none of them, or several.
 */
export async function variablesFor(env: Environment, address: string): Promise<Environment> {
  const url = await knownUrl(env, address);
  // A token that was given for another server must not reach this one.
  const isTheirs = env.ASSAY_URL === undefined || trimSlash(env.ASSAY_URL) === url;
  return { ...env, ASSAY_URL: url, ASSAY_TOKEN: isTheirs ? env.ASSAY_TOKEN : undefined };
}

async function knownUrl(env: Environment, address: string): Promise<string> {
  if (/^https?:\/\//.test(address)) return parseServerUrl(address);
  const urls = Object.keys((await readHosts(env)).hosts);
  const [url, other] = urls.filter((known) => [new URL(known).host, new URL(known).hostname].includes(address));
  if (url !== undefined && other === undefined) return url;
  const found = url === undefined ? 'no server that you are logged in to' : 'several servers that you are logged in to';
  const choice = urls.length === 0 ? 'log in with "assay login URL" first' : `expected one of ${urls.join(', ')}`;
  throw new CliError(`--server ${address} names ${found}; ${choice}.`);
}

function withKnownToken(url: string, env: Environment, hosts: Hosts, stack: Server | null): Server {
  if (env.ASSAY_TOKEN) return { url, token: env.ASSAY_TOKEN, source: 'ASSAY_TOKEN' };
  const known = hosts.hosts[url];
  if (known) return { url, token: known.token, source: hostsPath(env) };
  return stack?.url === url ? stack : { url, token: null, source: 'none' };
}

/** The embedded stack keeps its port and its first token in its home; both are only read here. */
async function findLocalStack(env: Environment): Promise<Server | null> {
  const home = env.ASSAY_HOME ?? join(env.HOME ?? homedir(), '.assay');
  const tokenPath = join(home, 'token');
  const token = await readIfThere(tokenPath);
  if (token === null) return null;
  const url = env.ASSAY_PUBLIC_URL ?? (env.ASSAY_PORT ? `http://127.0.0.1:${env.ASSAY_PORT}` : await stackUrl(home));
  return { url: trimSlash(url), token: token.trim(), source: tokenPath };
}

const lockFile = z.object({ url: z.string() });

/** A stack writes its address into its lock when it starts; its port may have been chosen then. */
async function stackUrl(home: string): Promise<string> {
  const text = await readIfThere(join(home, 'stack.lock'));
  const parsed = text === null ? null : lockFile.safeParse(parseJson(text));
  return parsed?.success ? parsed.data.url : defaultUrl;
}

export function hostsPath(env: Environment): string {
  return join(env.XDG_CONFIG_HOME ?? join(env.HOME ?? homedir(), '.config'), 'assay', 'hosts.json');
}

/** @throws CliError when the file is not what `assay login` wrote. */
export async function readHosts(env: Environment): Promise<Hosts> {
  const text = await readIfThere(hostsPath(env));
  if (text === null) return { current: null, hosts: {} };
  const parsed = hostsFile.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new CliError(`${hostsPath(env)} is not what "assay login" writes: remove it and log in again.`);
}

/** Written whole and renamed into place, readable by its owner only from the first byte on. */
export async function writeHosts(env: Environment, hosts: Hosts): Promise<void> {
  const path = hostsPath(env);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(hosts, null, 2)}\n`, { mode: onlyOwner });
  await chmod(draft, onlyOwner);
  await rename(draft, path);
}

/** What Assay installs for this user: programs, packages and environments. Safe to delete. */
export function cachePath(env: Environment): string {
  return join(env.XDG_CACHE_HOME ?? join(env.HOME ?? homedir(), '.cache'), 'assay');
}

/** An address as a key of the stored logins. @throws CliError */
export function parseServerUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '') {
    throw new CliError(`Found "${text}"; expected the server's address, for example https://assay.example.org.`);
  }
  return trimSlash(`${url.origin}${url.pathname}`);
}

function trimSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller's schema refuses it with its own message.
  }
}

async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return null;
    throw error;
  });
}
