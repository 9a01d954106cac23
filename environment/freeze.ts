import { readdir } from 'node:fs/promises';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { normalName } from '#environment/sources/uv-lock.ts';
import { createFrozenLock, type Lock } from './lock.ts';

/**
 * Records the packages of an interpreter, for a project that names no requirements. The names of the metadata
 * directories say it all, so no process is started.
 */
export async function freeze(interpreter: Interpreter): Promise<Lock> {
  const listed =
    interpreter.distributions ?? (await Promise.all(interpreter.sitePackages.map((folder) => readdir(folder)))).flat();
  const packages = listed.flatMap((name) => {
    const found = /^([^-]+)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$/.exec(name);
    return found === null ? [] : [`${normalName(found[1] ?? '')}==${found[2]}`];
  });
  return createFrozenLock([...new Set(packages)].sort());
}
