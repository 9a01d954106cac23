import { access, constants, readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { runCommand } from '#environment/process/command.ts';

/** A CPython on this machine. */
export interface Interpreter {
  /** Absolute path of the real executable: never a shim, never a virtual environment. */
  path: string;
  /** For example `3.11.7`. */
  version: string;
  platform: Platform;
  /** True below a private home directory when this process is root: stages run as a user who cannot go there. */
  isPrivate: boolean;
  /** Directories of the packages installed into this Python itself. */
  sitePackages: readonly string[];
  /** Names of the metadata directories in them, for the Python of an image, whose directories are not here. */
  distributions?: readonly string[];
}

export interface Platform {
  os: 'linux' | 'darwin';
  arch: 'x86_64' | 'aarch64';
  /** For example `glibc 2.36`; empty on macOS. */
  libc: string;
}

const probeScript = `
import json, os, platform, site, sys
try:
    libc = os.confstr('CS_GNU_LIBC_VERSION') or ''
except (AttributeError, ValueError, OSError):
    libc = 'musl' if sys.platform == 'linux' else ''
print(json.dumps({
    'isBase': sys.prefix == sys.base_prefix,
    'base': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'version': platform.python_version(),
    'implementation': sys.implementation.name,
    'os': sys.platform,
    'machine': platform.machine(),
    'libc': libc,
    'site': [os.path.realpath(p) for p in site.getsitepackages() if os.path.isdir(p)],
}))
`;

interface Probe {
  isBase: boolean;
  base: string;
  version: string;
  implementation: string;
  os: string;
  machine: string;
  libc: string;
  site: string[];
}

const probes = new Map<string, Promise<Interpreter | undefined>>();

/** Undefined for what is not a working CPython. Asked once per executable and process. */
export async function probeInterpreter(
  path: string,
  env: Readonly<Record<string, string>>,
): Promise<Interpreter | undefined> {
  const identity = await fileIdentity(path);
  if (identity === undefined) return undefined;
  const known = probes.get(identity) ?? inspect(path, env);
  probes.set(identity, known);
  return await known;
}

async function inspect(path: string, env: Readonly<Record<string, string>>): Promise<Interpreter | undefined> {
  const probe = await runProbe(path, env);
  if (probe === undefined || probe.implementation !== 'cpython') return undefined;
  if (!probe.isBase && probe.base !== path) return await inspect(probe.base, env);
  const platform = platformOf(probe);
  if (platform === undefined) return undefined;
  const isPrivate = !(await isReachableByStages(probe.base));
  return { path: probe.base, version: probe.version, platform, isPrivate, sitePackages: probe.site };
}

async function runProbe(path: string, env: Readonly<Record<string, string>>): Promise<Probe | undefined> {
  try {
    // Started in `/`, because version managers choose by the files of the current directory.
    const result = await runCommand(path, ['-I', '-c', probeScript], {
      cwd: '/',
      env,
      signal: AbortSignal.timeout(20_000),
    });
    return result.exitCode === 0 ? (JSON.parse(result.stdout) as Probe) : undefined;
  } catch (error) {
    if (isNotRunnable(error)) return undefined;
    throw error;
  }
}

function isNotRunnable(error: unknown): boolean {
  if (error instanceof SyntaxError || (error instanceof Error && error.name === 'TimeoutError')) return true;
  return ['ENOENT', 'EACCES', 'ENOEXEC', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '');
}

export function platformOf(probe: Pick<Probe, 'os' | 'machine' | 'libc'>): Platform | undefined {
  const arch = probe.machine === 'arm64' ? 'aarch64' : probe.machine;
  const isKnown = (probe.os === 'linux' || probe.os === 'darwin') && (arch === 'x86_64' || arch === 'aarch64');
  return isKnown ? { os: probe.os as Platform['os'], arch: arch as Platform['arch'], libc: probe.libc } : undefined;
}

/** For example `linux-x86_64-glibc_2.36`: part of what an environment is. */
export function platformName(platform: Platform): string {
  return [platform.os, platform.arch, platform.libc.replaceAll(' ', '_')].filter(Boolean).join('-');
}

async function isReachableByStages(path: string): Promise<boolean> {
  if (process.getuid?.() !== 0) return true;
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const { mode } = await stat(at);
    if ((mode & 0o001) === 0) return false;
  }
  return true;
}

/** Where a Python may be, most preferred first: what `python3` means here, then every other name and place. */
export async function candidatePaths(
  env: Readonly<Record<string, string>>,
  preferred: string,
  managedDir: string,
): Promise<string[]> {
  const folders = [...(env.PATH ?? '').split(delimiter), '/usr/local/bin', '/usr/bin', '/opt/homebrew/bin'];
  const onPath = (name: string): string[] => folders.filter(isAbsolute).map((folder) => join(folder, name));
  const minors = Array.from({ length: 12 }, (_, index) => `python3.${20 - index}`);
  const candidates = [
    ...(isAbsolute(preferred) ? [preferred] : onPath(preferred)),
    ...onPath('python3'),
    ...onPath('python'),
    ...minors.flatMap(onPath),
    ...(await installedBelow(join(env.PYENV_ROOT ?? join(env.HOME ?? homedir(), '.pyenv'), 'versions'))),
    ...(await installedBelow(managedDir)),
  ];
  return [...new Set(candidates)];
}

async function installedBelow(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(onAbsent<string[]>([]));
  return names.sort().map((name) => join(folder, name, 'bin', 'python3'));
}

async function fileIdentity(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
    const real = await realpath(path);
    const { mtimeMs, size } = await stat(real);
    // A shim or a symbolic link of a virtual environment means something else than the file it leads to.
    return `${path} ${real} ${mtimeMs} ${size}`;
  } catch (error) {
    return onAbsent<undefined>(undefined)(error);
  }
}

function onAbsent<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) return value;
    throw error;
  };
}
