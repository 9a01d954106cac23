import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pyproject } from './pyproject.ts';
import { isDirectory, isFile } from './tree.ts';

/** A directory of the tree that is a Python package. */
export interface LocalPackage {
  /** Relative to the root of the tree; `.` is the root. */
  directory: string;
  /** True when the requirements name it, so that failing to install it is an error. */
  isExplicit: boolean;
}

/** True when the root is a package although no requirement says so: a build definition and something to import. */
export async function implicitPackage(root: string, pyproject: Pyproject | undefined): Promise<boolean> {
  const isDefined =
    pyproject?.hasBuildSystem ||
    pyproject?.hasProject ||
    (await isFile(join(root, 'setup.py'))) ||
    (await isFile(join(root, 'setup.cfg')));
  return isDefined && ((await isDirectory(join(root, 'src'))) || (await hasPackage(root)));
}

async function hasPackage(root: string): Promise<boolean> {
  const entries = await readdir(root, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory() && /^[A-Za-z_]\w*$/.test(entry.name));
  const found = await Promise.all(folders.map(({ name }) => isFile(join(root, name, '__init__.py'))));
  return found.includes(true);
}
