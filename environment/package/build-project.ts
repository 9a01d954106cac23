import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { locksDir, wheelsDir } from '#environment/context.ts';
import type { LockedWheel } from '#environment/lock.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { platformName } from '#environment/python/interpreters.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { baseOf, buildWheel, fileSha256, type WheelBuilding, wheelPath } from '#environment/uv/built-wheels.ts';

/** One build per content, Python and platform of this machine. */
export async function buildProject(building: WheelBuilding, source: string): Promise<LockedWheel> {
  const { context, interpreter } = building;
  const where = [interpreter.version, platformName(interpreter.platform), ...baseOf(context)];
  const content = [await treeDigest(source), ...where];
  const id = createHash('sha256').update(JSON.stringify(content)).digest('hex');
  const record = join(wheelsDir(context.cacheDir), 'projects', `${id}.json`);
  return await withFileLock(join(locksDir(context.cacheDir), `project-${id}`), async () => {
    const known = await readText(record);
    if (known !== undefined && (await isFile(wheelPath(context, JSON.parse(known) as LockedWheel)))) {
      return JSON.parse(known) as LockedWheel;
    }
    context.counters.projectBuilds += 1;
    const wheel = await buildCopy(building, source);
    await mkdir(dirname(record), { recursive: true });
    await writeFile(`${record}.new`, JSON.stringify(wheel));
    await rename(`${record}.new`, record);
    return wheel;
  });
}

/** Build backends write beside the sources, where new files would count as outputs of the stage. */
async function buildCopy(building: WheelBuilding, source: string): Promise<LockedWheel> {
  return await withWorkDirectory(building.context.cacheDir, async (work) => {
    const copy = join(work, basename(source));
    await cp(source, copy, { recursive: true });
    return await buildWheel(building, copy, work);
  });
}

async function treeDigest(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const path of files.sort()) hash.update(`${path.slice(folder.length)}\0${await fileSha256(path)}\n`);
  return hash.digest('hex');
}
