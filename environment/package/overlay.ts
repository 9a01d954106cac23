import { chmod, copyFile, lstat, mkdir, open, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { readText } from '#environment/sources/tree.ts';
import type { VenvPlaces } from './editable.ts';

/**
 * A writable virtual environment over a shared one: it sees the same packages and brings the same commands, and
 * what is installed into it stays in it.
 *
 * @param target a directory that does not exist yet.
 */
export async function createOverlay(
  environment: { path: string; binDir: string },
  interpreter: Interpreter,
  target: string,
): Promise<VenvPlaces> {
  const minor = interpreter.version.split('.').slice(0, 2).join('.');
  const binDir = join(target, 'bin');
  const sitePackages = join(target, 'lib', `python${minor}`, 'site-packages');
  await mkdir(sitePackages, { recursive: true });
  await mkdir(binDir);
  await symlink('lib', join(target, 'lib64'));
  await writeFile(join(target, 'pyvenv.cfg'), await overlayConfig(environment.path, interpreter));
  for (const name of ['python', 'python3', `python${minor}`]) await symlink(interpreter.path, join(binDir, name));
  await bringCommands(environment.binDir, binDir);
  const below = join(environment.path, 'lib', `python${minor}`, 'site-packages');
  // addsitedir also reads the .pth files of the shared environment.
  await writeFile(join(sitePackages, '_assay_0.pth'), `import site; site.addsitedir(${JSON.stringify(below)})\n`);
  return { sitePackages, binDir, python: join(binDir, 'python') };
}

async function overlayConfig(shared: string, interpreter: Interpreter): Promise<string> {
  const config = (await readText(join(shared, 'pyvenv.cfg'))) ?? '';
  const usesSystem = /include-system-site-packages\s*=\s*true/.test(config);
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
