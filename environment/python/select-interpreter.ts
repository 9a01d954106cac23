import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type EnvironmentContext, locksDir, pythonsDir } from '#environment/context.ts';
import { runCommand } from '#environment/process/command.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { installUv } from '#environment/uv/install-uv.ts';
import { candidatePaths, type Interpreter, probeInterpreter } from './interpreters.ts';
import type { PythonRequest } from './python-request.ts';
import { compareReleases, matchesRequest, parseRelease, parseVersionRequest } from './version-specifier.ts';

export interface SelectedPython {
  interpreter: Interpreter;
  notes: readonly string[];
}

const oldestSupported = '>=3.9';

/**
 * The Python for a request: the preferred one (`python3`) when it satisfies it, else the newest that does, else
 * a download. The choice depends on nothing but the request and what is installed.
 *
 * @throws DomainError environment-unsupported that names the versions found.
 */
export async function selectInterpreter(context: EnvironmentContext, request: PythonRequest): Promise<SelectedPython> {
  const accepts = accepting(request);
  const preferred = await firstWorking(context);
  if (preferred !== undefined && !preferred.isPrivate && accepts(preferred))
    return { interpreter: preferred, notes: [] };
  const installed = await installedInterpreters(context);
  const passedOver = preferred?.isPrivate && accepts(preferred) ? [privateNote(preferred)] : [];
  const newest = installed.find(accepts);
  if (newest !== undefined) return { interpreter: newest, notes: passedOver };
  const near = sameMinor(request, installed);
  if (near !== undefined) {
    const note = `${request.from} asks for Python ${request.request}; ${near.version} is used.`;
    return { interpreter: near, notes: [note] };
  }
  return { interpreter: await download(context, request, installed, accepts), notes: [] };
}

function privateNote({ path, version }: Interpreter): string {
  return `Python ${version} at ${path} is not used: stages run as another user, who cannot reach it.`;
}

/** @throws DomainError environment-unsupported for a request that is no version. */
export function accepting(request: PythonRequest): (interpreter: Interpreter) => boolean {
  const supported = parseVersionRequest(oldestSupported) ?? [];
  const clauses = request.request === null ? [] : parseVersionRequest(request.request);
  if (clauses === undefined) {
    throw new DomainError(
      'environment-unsupported',
      `${request.from} asks for Python "${request.request}", which is not a version of CPython. Write a version such as "3.11" or a range such as ">=3.10,<3.13".`,
    );
  }
  return ({ version }) => matchesRequest(version, supported) && matchesRequest(version, clauses);
}

/**
 * A Python of this machine for reading what is written in Python, where the environment's own is in an image. Nothing is
 * executed with it.
 */
export async function readingPython(context: EnvironmentContext, interpreter: Interpreter): Promise<string> {
  if (context.base === null) return interpreter.path;
  return (await firstWorking(context))?.path ?? context.preferredPython;
}

async function firstWorking(context: EnvironmentContext): Promise<Interpreter | undefined> {
  for (const path of await candidates(context)) {
    const interpreter = await probeInterpreter(path, context.env);
    if (interpreter !== undefined) return interpreter;
  }
  return undefined;
}

/** Every Python of this machine that stages can use, newest first, one per version. */
export async function installedInterpreters(context: EnvironmentContext): Promise<Interpreter[]> {
  const byVersion = new Map<string, Interpreter>();
  for (const interpreter of await workingInterpreters(context)) {
    if (!interpreter.isPrivate && !byVersion.has(interpreter.version)) byVersion.set(interpreter.version, interpreter);
  }
  return [...byVersion.values()].sort((a, b) => compareReleases(parseRelease(b.version), parseRelease(a.version)));
}

async function workingInterpreters(context: EnvironmentContext): Promise<Interpreter[]> {
  const found: Interpreter[] = [];
  for (const path of await candidates(context)) {
    const interpreter = await probeInterpreter(path, context.env);
    if (interpreter !== undefined) found.push(interpreter);
  }
  return found;
}

async function candidates(context: EnvironmentContext): Promise<string[]> {
  return await candidatePaths(context.env, context.preferredPython, pythonsDir(context.cacheDir));
}

/** Version managers pin patch releases in `.python-version`; another patch release of that minor serves as well. */
function sameMinor(request: PythonRequest, installed: readonly Interpreter[]): Interpreter | undefined {
  return installed.find((one) => isSameMinor(request, one));
}

export function isSameMinor(request: PythonRequest, { version }: Interpreter): boolean {
  if (request.isExact || request.request === null) return false;
  const [major, minor, patch] = parseRelease(request.request.trim());
  if (!/^\d/.test(request.request.trim()) || patch === undefined) return false;
  const release = parseRelease(version);
  return release[0] === major && release[1] === minor;
}

async function download(
  context: EnvironmentContext,
  request: PythonRequest,
  installed: readonly Interpreter[],
  accepts: (interpreter: Interpreter) => boolean,
): Promise<Interpreter> {
  const failure = context.pythonDownloads
    ? await tryDownload(context, request.request ?? '3')
    : 'downloads are switched off';
  const found = (await installedInterpreters(context)).find(accepts);
  if (found !== undefined) return found;
  const hidden = (await workingInterpreters(context)).find((one) => one.isPrivate && accepts(one));
  const versions = installed.map(({ version }) => version).join(', ') || 'none';
  throw new DomainError(
    'environment-unsupported',
    `${request.from} asks for Python ${request.request ?? oldestSupported}. This machine has ${versions}, and it could not be downloaded (${failure}).${hidden ? ` ${privateNote(hidden)}` : ''} Install it for all users, or ask for one of these.`,
  );
}

async function tryDownload(context: EnvironmentContext, version: string): Promise<string> {
  const uv = await installUv(context);
  const env = { ...context.installingEnv, UV_HTTP_RETRIES: '0' };
  const lock = join(locksDir(context.cacheDir), 'python-install');
  const result = await withFileLock(lock, () =>
    runCommand(uv.path, ['python', 'install', '--no-bin', version], { env }),
  );
  const causes = result.stderr.split('\n').filter((line) => /cause:|error:/.test(line));
  return result.exitCode === 0 ? 'the download does not satisfy the request' : reason(causes);
}

function reason(lines: readonly string[]): string {
  return lines.at(-1)?.replace(/^\s*(cause|error):\s*/, '') ?? 'uv gave no reason';
}
