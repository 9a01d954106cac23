// Writes a source archive to disk. The archive may come from anywhere, so nothing in it is believed.
import { constants, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract as createExtract, type Extract, type Header } from 'tar-stream';
import { DomainError } from '#core/errors.ts';
import { linkRefusal, pathRefusal } from './source-path.ts';

interface ExtractLimits {
  filesMax: number;
  /** Sum of all file sizes. */
  sizeBytesMax: number;
}

export interface ExtractOptions {
  limits: ExtractLimits;
  /** Only these paths are written; the others are still checked. */
  only?: (path: string) => boolean;
}

type Entry = Extract extends AsyncIterable<infer Item> ? Item : never;

interface Extraction {
  destDir: string;
  folders: Map<string, Promise<void>>;
  writing: Set<Promise<void>>;
  failures: unknown[];
  links: Map<string, string>;
  files: number;
  sizeBytes: number;
}

const inMemoryBytesMax = 1024 ** 2;
const writesMax = 16;
// A file is created, never opened through a link and never overwritten.
const createOnly = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;

function refuse(name: string, why: string): never {
  throw new DomainError('source-refused', `The source archive's entry ${JSON.stringify(name.slice(0, 200))} ${why}.`);
}

function checkCaps(state: Extraction, header: Header, limits: ExtractLimits): void {
  state.files += 1;
  state.sizeBytes += header.size;
  if (state.files <= limits.filesMax && state.sizeBytes <= limits.sizeBytesMax) return;
  throw new DomainError(
    'source-too-large',
    `The source archive unpacks to more than ${limits.filesMax} entries or ${limits.sizeBytesMax} bytes.`,
  );
}

function checkEntry(header: Header): void {
  const name = header.type === 'directory' ? header.name.replace(/\/$/, '') : header.name;
  const why = pathRefusal(name);
  if (why !== null) refuse(header.name, why);
  if (!Number.isSafeInteger(header.size) || header.size < 0) refuse(header.name, 'has an impossible size');
  if (header.type === 'symlink') {
    const reason = linkRefusal(header.name, header.linkname);
    if (reason !== null) refuse(header.name, reason);
  } else if (header.type !== 'file' && header.type !== 'directory') {
    refuse(header.name, `is a ${header.type}, and only files, folders and symbolic links are accepted`);
  }
}

function makeFolder(state: Extraction, folder: string): Promise<void> {
  const known = state.folders.get(folder);
  if (known !== undefined) return known;
  const made = mkdir(join(state.destDir, folder), { recursive: true }).then(() => undefined);
  state.folders.set(folder, made);
  return made;
}

async function collect(entry: Entry): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of entry) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function fileMode(header: Header): number {
  return (header.mode & 0o111) === 0 ? 0o644 : 0o755;
}

async function writeWhole(state: Extraction, header: Header, content: Buffer): Promise<void> {
  await makeFolder(state, dirname(header.name));
  await writeFile(join(state.destDir, header.name), content, { flag: createOnly, mode: fileMode(header) });
}

async function writeStreaming(state: Extraction, header: Header, entry: Entry): Promise<void> {
  await makeFolder(state, dirname(header.name));
  const handle = await open(join(state.destDir, header.name), createOnly, fileMode(header));
  await pipeline(entry as unknown as Readable, createWriteStream('', { fd: handle }));
}

// Small files are written side by side; the first failure ends the extraction.
async function schedule(state: Extraction, write: Promise<void>): Promise<void> {
  const tracked: Promise<void> = write.then(
    () => void state.writing.delete(tracked),
    (error: unknown) => {
      state.writing.delete(tracked);
      state.failures.push(error);
    },
  );
  state.writing.add(tracked);
  if (state.writing.size >= writesMax) await Promise.race(state.writing);
  throwFirst(state);
}

function throwFirst(state: Extraction): void {
  if (state.failures.length > 0) throw state.failures[0];
}

async function takeEntry(state: Extraction, entry: Entry, options: ExtractOptions): Promise<void> {
  const header = entry.header;
  checkEntry(header);
  checkCaps(state, header, options.limits);
  const wanted = options.only?.(header.name) ?? true;
  if (!wanted || header.type === 'directory') {
    entry.resume();
    if (wanted) await makeFolder(state, header.name.replace(/\/$/, ''));
  } else if (header.type === 'symlink') {
    entry.resume();
    if (state.links.has(header.name)) refuse(header.name, 'appears twice');
    state.links.set(header.name, header.linkname);
  } else if (header.size <= inMemoryBytesMax) {
    await schedule(state, writeWhole(state, header, await collect(entry)));
  } else await writeStreaming(state, header, entry);
}

// Links come last: while files are written there is no link in the folder that a path could lead through.
async function makeLinks(state: Extraction): Promise<void> {
  for (const [path, target] of state.links) {
    await makeFolder(state, dirname(path));
    await symlink(target, join(state.destDir, path));
  }
}

function asRefusal(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ELOOP') {
    return new DomainError('source-refused', 'The source archive has two entries for one path; make it again.');
  }
  if (!/^(?:Unexpected end of data|Invalid tar header|Invalid header|Header exceeds|Invalid pax)/i.test(message))
    return error;
  return new DomainError('source-refused', `The source archive is damaged (${message.split('.')[0]}); make it again.`);
}

async function requireEmpty(destDir: string): Promise<void> {
  await mkdir(destDir, { recursive: true });
  if ((await readdir(destDir)).length > 0) throw new Error(`${destDir} is not empty, and sources need an empty folder`);
}

async function unpack(tar: Readable, state: Extraction, options: ExtractOptions): Promise<void> {
  const extraction = createExtract();
  const fed = pipeline(tar, extraction as unknown as NodeJS.WritableStream).then(
    () => null,
    (error: unknown) => error,
  );
  try {
    for await (const entry of extraction) await takeEntry(state, entry, options);
  } catch (error) {
    extraction.destroy();
    tar.destroy();
    await fed;
    throw error;
  }
  const error = await fed;
  if (error !== null) throw error;
  await Promise.all(state.writing);
  throwFirst(state);
  await makeLinks(state);
}

/**
 * Writes a tar into `destDir`, which must be empty or absent; on failure the folder is removed. Throws source-refused
 * for devices, hard links, absolute or climbing names and links that leave the folder, and source-too-large.
 */
export async function extractSource(tar: Readable, destDir: string, options: ExtractOptions): Promise<void> {
  await requireEmpty(destDir);
  const state: Extraction = {
    destDir,
    folders: new Map(),
    writing: new Set(),
    failures: [],
    links: new Map(),
    files: 0,
    sizeBytes: 0,
  };
  try {
    await unpack(tar, state, options);
  } catch (error) {
    await Promise.all(state.writing);
    await rm(destDir, { recursive: true, force: true });
    throw asRefusal(error);
  }
}
