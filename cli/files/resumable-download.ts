// One large file that the server makes: what is broken off goes on where it ended, in this call or in a later one.
import { createWriteStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnreachableError } from '#sdk/api-error.ts';
import { CliError, exitCodes } from '#cli/errors.ts';

export interface GoOn {
  fromByte: number;
  etag: string;
}

/** Answers 206 as long as the file is still the one with this ETag, else 200 with all of it. */
type Open = (goOn: GoOn | null) => Promise<Response>;

/** Tries in a row that bring nothing new. */
const triesMax = 5;
const pauseMs = 500;

/**
 * Fetches the whole file beside `target` and answers its path. The name has the file's ETag, so that parts of different
 * files are never joined.
 * @throws CliError when the connection breaks again and again; what came so far stays for the next call.
 */
export async function downloadResumable(open: Open, target: string, note: (line: string) => void): Promise<string> {
  let part = await startPart(open, target);
  for (let tries = 1; ; tries += 1) {
    const before = await sizeOf(part.path);
    if (before === part.sizeBytes) return part.path;
    part = await fetchRest(open, target, part, before).catch(async (error: unknown) => {
      if (!isBroken(error)) throw error;
      const now = await sizeOf(part.path);
      if (now > before) tries = 0;
      if (tries >= triesMax) throw brokenOff(part, now, error);
      note(`The connection broke after ${now} of ${part.sizeBytes} bytes; it goes on.`);
      await sleep(pauseMs * tries);
      return part;
    });
  }
}

interface Part {
  path: string;
  etag: string;
  sizeBytes: number;
  /** Answer that has begun with the first byte; used once. */
  begun: Response | null;
}

async function startPart(open: Open, target: string): Promise<Part> {
  return partOf(await open(null), target);
}

async function partOf(response: Response, target: string): Promise<Part> {
  const etag = response.headers.get('etag') ?? '';
  const [, id] = /^"([0-9a-f]{16})[0-9a-f]*"$/.exec(etag) ?? [];
  if (id === undefined)
    throw new CliError('The server sent no ETag with the file; ask for it with another version of Assay.');
  const path = `${target}.${id}.part`;
  await removeOthers(target, path);
  return { path, etag, sizeBytes: Number(response.headers.get('content-length')), begun: response };
}

async function fetchRest(open: Open, target: string, part: Part, held: number): Promise<Part> {
  const { begun, etag } = part;
  part.begun = null;
  const isUsable = begun !== null && held === 0;
  if (!isUsable) await begun?.body?.cancel();
  const response = isUsable ? begun : await open(held === 0 ? null : { fromByte: held, etag });
  if (response.headers.get('etag') !== etag) {
    const next = await partOf(response, target);
    return { ...next, begun: response };
  }
  const flags = response.status === 206 ? 'a' : 'w';
  await pipeline(response.body ?? Readable.from([]), createWriteStream(part.path, { flags, mode: 0o644 }));
  return part;
}

async function removeOthers(target: string, path: string): Promise<void> {
  const start = `${basename(target)}.`;
  const isPart = (name: string) => name.startsWith(start) && /^[0-9a-f]{16}\.part$/.test(name.slice(start.length));
  for (const name of await readdir(dirname(target))) {
    const other = join(dirname(target), name);
    if (isPart(name) && other !== path) await rm(other, { force: true });
  }
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => null))?.size ?? 0;
}

/** Also a body that ends early; a full disk, for example, is not. */
function isBroken(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof TypeError && error.message === 'terminated');
}

function brokenOff({ path, sizeBytes }: Part, held: number, cause: unknown): CliError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CliError(
    `The connection broke again and again after ${held} of ${sizeBytes} bytes (${why}). They are kept in ${path}; the same command goes on from there.`,
    { exitCode: exitCodes.unreachable },
  );
}
