import { chmod, copyFile, lstat, mkdir, open, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { readText } from '#environment/sources/tree.ts';
import type { VenvPlaces } from './editable.ts';

/** What an overlay lies over: a shared environment of this machine or of an image. */
export interface Below {
  sitePackages: readonly string[];
  /** Whether the packages of Python itself are seen too. */
  usesSystem: boolean;
  /** A folder of this machine with its commands; null for none. */
  scriptsDir: string | null;
  /** Names of programs that stay where they are, and that folder. */
  programs?: { names: readonly string[]; folder: string };
}

/**
 * A writable virtual environment over a shared one: it sees the same packages and brings the same commands, and
 * what is installed into it stays in it.
 *
 * @param target a directory that does not exist yet.
 */
export async function createOverlay(below: Below, interpreter: Interpreter, target: string): Promise<VenvPlaces> {
  const minor = minorOf(interpreter);
  const binDir = join(target, 'bin');
  const sitePackages = join(target, 'lib', `python${minor}`, 'site-packages');
  await mkdir(sitePackages, { recursive: true });
  await mkdir(binDir);
  await symlink('lib', join(target, 'lib64'));
  await writeFile(join(target, 'pyvenv.cfg'), overlayConfig(below, interpreter));
  for (const name of ['python', 'python3', `python${minor}`]) await symlink(interpreter.path, join(binDir, name));
  if (below.scriptsDir !== null) await bringCommands(below.scriptsDir, binDir);
  const { names = [], folder = '' } = below.programs ?? {};
  for (const name of names) await symlink(join(folder, name), join(binDir, name));
  // addsitedir also reads the .pth files of the shared environment.
  const lines = below.sitePackages.map((path) => `import site; site.addsitedir(${JSON.stringify(path)})\n`);
  await writeFile(join(sitePackages, '_assay_0.pth'), lines.join(''));
  return { sitePackages, binDir, python: join(binDir, 'python') };
}

/** A shared environment of this machine. */
export async function belowOf(environment: { path: string; binDir: string }, interpreter: Interpreter): Promise<Below> {
  const config = (await readText(join(environment.path, 'pyvenv.cfg'))) ?? '';
  return {
    sitePackages: [sitePackagesOf(environment.path, interpreter)],
    usesSystem: /include-system-site-packages\s*=\s*true/.test(config),
    scriptsDir: environment.binDir,
  };
}

export function sitePackagesOf(venv: string, interpreter: Interpreter): string {
  return join(venv, 'lib', `python${minorOf(interpreter)}`, 'site-packages');
}

function minorOf({ version }: Interpreter): string {
  return version.split('.').slice(0, 2).join('.');
}

function overlayConfig({ usesSystem }: Below, interpreter: Interpreter): string {
  return [
    `home = ${dirname(interpreter.path)}`,
    'implementation = CPython',
    `version_info = ${interpreter.version}`,
    `include-system-site-packages = ${usesSystem}`,
    '',
  ].join('\n');
}

/** The scripts of a relocatable environment run the Python beside them, so a copy of a script sees the package too. */
async function bringCommands(from: string, to: string): Promise<void> {
  const names = (await readdir(from)).filter(
    (name) => !/^(python[\d.]*|activate.*|deactivate.*|pydoc\.bat)$/.test(name),
  );
  for (const name of names) {
    const path = join(from, name);
    if (!(await lstat(path)).isFile()) continue;
    if (!(await isScript(path))) {
      await symlink(path, join(to, name));
      continue;
    }
    await copyFile(path, join(to, name));
    await chmod(join(to, name), 0o755);
  }
}

async function isScript(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString('latin1') === '#!';
  } finally {
    await file.close();
  }
}
