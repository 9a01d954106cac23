// One file from the server to its place: written beside it, checked, then renamed, so that a broken download leaves nothing.
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CliError } from '#cli/errors.ts';
import { hashFile } from './folder-files.ts';

export interface ExpectedFile {
  path: string;
  sizeBytes: number;
  sha256: string;
  executable?: boolean;
}

/** @throws CliError when the bytes are not those the server promised. A file that is there already is not fetched. */
export async function downloadVerified(
  open: () => Promise<Response>,
  target: string,
  expected: ExpectedFile,
): Promise<'fetched' | 'present'> {
  if (await isPresent(target, expected)) return 'present';
  const draft = `${target}.${process.pid}.part`;
  try {
    const sha256 = await writeBody(await open(), draft);
    if (sha256 !== expected.sha256) {
      throw new CliError(
        `${expected.path} arrived with sha256 ${sha256}; expected ${expected.sha256}. It was thrown away; try again.`,
      );
    }
    if (expected.executable) await chmod(draft, 0o755);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return 'fetched';
}

/**
 * The place of a relative path below `dir`, whose folder is made.
 * @throws CliError when the path would leave `dir`, by itself or through a link that lies there.
 */
export async function safeTarget(dir: string, path: string): Promise<string> {
  const parts = path.split('/');
  if (
    parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\\') || part.includes('\0'))
  ) {
    throw new CliError(`The server named the path "${path}", which is not safe to write; nothing was written.`);
  }
  await mkdir(dir, { recursive: true });
  let folder = dir;
  for (const part of parts.slice(0, -1)) {
    folder = join(folder, part);
    await makeFolder(folder);
  }
  return join(folder, parts.at(-1) ?? '');
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  if ((await lstat(folder)).isDirectory()) return;
  throw new CliError(`${folder} is a link or a file where a folder is needed; choose another folder with -o.`);
}

async function isPresent(target: string, expected: ExpectedFile): Promise<boolean> {
  const found = await stat(target).catch(() => null);
  return found?.isFile() === true && found.size === expected.sizeBytes && (await hashFile(target)) === expected.sha256;
}

/** Answers with the sha256 of what was written. */
async function writeBody(response: Response, path: string): Promise<string> {
  const hash = createHash('sha256');
  const hashed = async function* (chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await pipeline(response.body ?? Readable.from([]), hashed, createWriteStream(path));
  return hash.digest('hex');
}
