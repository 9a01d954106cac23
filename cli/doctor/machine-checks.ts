// What `assay doctor` looks at on this machine. A check never throws: what cannot be found is its result.
import { execFile } from 'node:child_process';
import { access, constants, readdir, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { formatSize } from '#cli/show/quantities.ts';
import { installation } from '#cli/installation.ts';
import { cachePath, type Environment } from '#cli/settings.ts';

export interface Check {
  what: string;
  state: 'ok' | 'missing' | 'optional';
  /** What was found, in a few words. */
  found: string;
  /** What to do about it; null when there is nothing to do. */
  fix: string | null;
}

const run = promisify(execFile);
const answerWithinMs = 10_000;
const bytesPerGib = 1024 ** 3;
const freeBytesMin = 5 * bytesPerGib;

export function checkMachine(env: Environment): Promise<Check[]> {
  return Promise.all([
    checkNode(),
    checkPython(env),
    checkVenv(env),
    checkGit(env),
    checkUv(env),
    // What only a server needs is of no interest where none can be started.
    ...(installation.isClientOnly ? [] : [checkTemporal(env), checkDocker(env)]),
    checkDisk(env),
  ]);
}

async function checkNode(): Promise<Check> {
  return { what: 'node', state: 'ok', found: `${process.versions.node} (${process.execPath})`, fix: null };
}

async function checkPython(env: Environment): Promise<Check> {
  const python = env.ASSAY_PYTHON ?? 'python3';
  const script = 'import sys; print(".".join(map(str, sys.version_info[:3])), sys.executable)';
  const answer = await firstLine(env, python, ['-c', script]);
  const [version = '', path = ''] = answer?.split(' ') ?? [];
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major === 3 && minor >= 9) return { what: 'python', state: 'ok', found: `${version} (${path})`, fix: null };
  const found = answer === null ? `no program "${python}"` : `${version}, but 3.9 or newer is needed`;
  return { what: 'python', state: 'missing', found, fix: 'install Python 3.9 or newer (Debian: apt install python3)' };
}

async function checkVenv(env: Environment): Promise<Check> {
  const script = 'import venv, ensurepip; print("venv and pip")';
  const answer = await firstLine(env, env.ASSAY_PYTHON ?? 'python3', ['-c', script]);
  if (answer !== null) return { what: 'venv', state: 'ok', found: answer, fix: null };
  const fix = 'install the venv module (Debian: apt install python3-venv)';
  return { what: 'venv', state: 'missing', found: "Python's venv module cannot be imported", fix };
}

async function checkGit(env: Environment): Promise<Check> {
  const answer = await firstLine(env, 'git', ['--version']);
  if (answer !== null) return { what: 'git', state: 'ok', found: answer.replace('git version ', ''), fix: null };
  return { what: 'git', state: 'missing', found: 'no program "git"', fix: 'install git (Debian: apt install git)' };
}

async function checkUv(env: Environment): Promise<Check> {
  const cached = join(cachePath(env), 'uv');
  const versions = await readdir(cached).catch(() => []);
  const program = await findProgram(
    env,
    'uv',
    versions.map((version) => join(cached, version, 'bin')),
  );
  const answer = program === null ? null : await firstLine(env, program, ['--version']);
  if (answer !== null)
    return { what: 'uv', state: 'ok', found: `${answer.replace('uv ', '')} (${program})`, fix: null };
  const fix = 'nothing to do: "assay env" and "assay exec" install a pinned copy, and the server has its own';
  return { what: 'uv', state: 'optional', found: 'none on PATH', fix };
}

async function checkTemporal(env: Environment): Promise<Check> {
  const program = env.ASSAY_TEMPORAL_BIN ?? (await findProgram(env, 'temporal', [join(cachePath(env), 'bin')]));
  const answer = program === null ? null : await firstLine(env, program, ['--version']);
  if (answer !== null) return { what: 'temporal', state: 'ok', found: `${answer} (${program})`, fix: null };
  const hasGo = (await findProgram(env, 'go')) !== null;
  const fix = hasGo
    ? 'nothing to do: "npm start" gets it once, with Go if no download is reachable'
    : '"npm start" downloads it once; without access to GitHub install Go or set ASSAY_TEMPORAL_BIN';
  return { what: 'temporal', state: 'optional', found: 'not installed yet', fix };
}

async function checkDocker(env: Environment): Promise<Check> {
  const answer = await firstLine(env, 'docker', ['version', '--format', '{{.Server.Version}}']);
  if (answer !== null) return { what: 'docker', state: 'ok', found: answer, fix: null };
  const fix = 'nothing to do: stages run as local processes';
  return { what: 'docker', state: 'optional', found: 'no engine answers', fix };
}

async function checkDisk(env: Environment): Promise<Check> {
  const home = env.ASSAY_HOME ?? join(env.HOME ?? homedir(), '.assay');
  const space = await statfs(await nearestExisting(home));
  const freeBytes = space.bavail * space.bsize;
  const enough = freeBytes >= freeBytesMin;
  const fix = enough
    ? null
    : `free some space, or set ASSAY_HOME to a larger disk (${formatSize(freeBytesMin)} advised)`;
  return { what: 'disk', state: enough ? 'ok' : 'missing', found: `${formatSize(freeBytes)} free at ${home}`, fix };
}

/** The path of a program on PATH or in one of the further folders, or null. */
async function findProgram(env: Environment, name: string, folders: readonly string[] = []): Promise<string | null> {
  for (const folder of [...(env.PATH ?? '').split(delimiter).filter(Boolean), ...folders]) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return null;
}

async function nearestExisting(path: string): Promise<string> {
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  return exists || path === dirname(path) ? path : nearestExisting(dirname(path));
}

/** The first line the program prints, or null when it is not there, fails or does not answer. */
async function firstLine(env: Environment, program: string, args: string[]): Promise<string | null> {
  try {
    const { stdout } = await run(program, args, { env: { ...env }, timeout: answerWithinMs });
    return stdout.split('\n')[0]?.trim() || null;
  } catch {
    return null; // Not there, failing and hanging all mean the same to a person: it cannot be used.
  }
}
