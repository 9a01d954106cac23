// A server says with every answer which command line belongs to it. Another one usually works too, so this is said once a
// day and server, and never to a program that reads JSON.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { versionHeader } from '#contract/health.ts';
import type { Context } from './context.ts';
import { howToInstall, type Installation, installation, isOtherVersion } from './installation.ts';
import { cachePath } from './settings.ts';

const versionPattern = /^\d[\w.+-]{0,60}$/;
const quietMs = 24 * 60 * 60 * 1000;

/** `fetch`, and a line to the person when the first answer names another version. */
export function fetchWatchingVersion(context: Context, url: string, own: Installation = installation): typeof fetch {
  if (context.asJson) return fetch;
  let isFirst = true;
  return async (...request) => {
    const response = await fetch(...request);
    if (isFirst) await tellOtherVersion(context, url, response.headers.get(versionHeader) ?? '', own);
    isFirst = false;
    return response;
  };
}

async function tellOtherVersion(context: Context, url: string, theirs: string, own: Installation): Promise<void> {
  if (!versionPattern.test(theirs) || !isOtherVersion(theirs, own)) return;
  const path = join(cachePath(context.env), 'other-versions.json');
  const told = await readTold(path);
  if (Date.now() - (told[url] ?? 0) < quietMs) return;
  context.terminal.note(`${url} has version ${theirs}, this is ${own.version}; run ${howToInstall(url)}`);
  await writeTold(path, { ...told, [url]: Date.now() });
}

/** When it was said last, by server, in milliseconds since the epoch. */
type Told = Record<string, number>;

async function readTold(path: string): Promise<Told> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Told;
  } catch {
    return {}; // Not there, damaged or not readable: it is said again, which does no harm.
  }
}

async function writeTold(path: string, told: Told): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${JSON.stringify(told)}\n`);
  } catch {
    return; // A cache that can not be written only means that it is said again.
  }
}
