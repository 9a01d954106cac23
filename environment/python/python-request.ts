import { join } from 'node:path';
import type { Pyproject } from '#environment/sources/pyproject.ts';
import { readText } from '#environment/sources/tree.ts';
import { parseVersionRequest } from './version-specifier.ts';

/** Which Python is asked, and by what. */
export interface PythonRequest {
  /** A version or a range; null takes the machine's default. */
  request: string | null;
  /** For example `assay.yaml`, `.python-version`, `pyproject.toml`; what a message may say. */
  from: string;
  /** True for a version that must not be replaced by another patch release. */
  isExact?: boolean;
}

/** The first that says something: the project file, `.python-version`, then the package's own metadata. */
export async function readPythonRequest(
  root: string,
  explicit: string | null | undefined,
  pyproject: Pyproject | undefined,
  lockedRange: string | null,
): Promise<PythonRequest> {
  if (explicit) return { request: explicit, from: 'assay.yaml', isExact: true };
  const pinned = await readVersionFile(root);
  if (pinned !== undefined) return { request: pinned, from: '.python-version' };
  if (pyproject?.requiresPython) return { request: pyproject.requiresPython, from: 'pyproject.toml' };
  if (lockedRange !== null) return { request: lockedRange, from: 'the lock file' };
  const packaged = await readSetupRequest(root);
  return packaged ?? { request: null, from: 'the default' };
}

/** The file may hold several versions and names of pyenv's virtual environments: the first version counts. */
async function readVersionFile(root: string): Promise<string | undefined> {
  const text = await readText(join(root, '.python-version'));
  const lines = (text ?? '').split('\n').map((line) => line.replace(/#.*/, '').trim());
  return lines.find((line) => line !== '' && parseVersionRequest(line) !== undefined);
}

async function readSetupRequest(root: string): Promise<PythonRequest | undefined> {
  for (const name of ['setup.cfg', 'setup.py']) {
    const text = (await readText(join(root, name))) ?? '';
    const request = /python_requires\s*=\s*['"]?([^'"\n]+)/.exec(text)?.[1]?.trim();
    if (request && parseVersionRequest(request) !== undefined) return { request, from: name };
  }
  return undefined;
}
