// Checks a bundle by itself: no server, no network, nothing unpacked. Every finding is one line.
import type { KeyObject } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { DomainError } from '#core/errors.ts';
import { type BundledFile, bundleFiles, type BundleIndex, encodeSums, readIndex } from './bundle-files.ts';
import { nextInBundle, quoted, readArchive } from './read-archive.ts';
import { checkProof, type ReadFiles } from './verify-proof.ts';

export interface VerifiedBundle {
  /** Label of the run; null when the bundle does not say. */
  run: string | null;
  /** Who signed; null when nobody did. */
  keyId: string | null;
  data: BundleIndex['data'] | null;
  files: number;
  sizeBytes: number;
  /** Empty when everything holds. */
  problems: string[];
}

/** Of one file that is read whole, and of all of them. */
const keptBytesMax = 256 * 1024 * 1024;
const keptInAllBytesMax = 512 * 1024 * 1024;

/**
 * @param expectedKey whose signature it has to be; null takes the key that lies in the bundle.
 * @throws the system's error for a file that can not be opened.
 */
export async function verifyBundle(path: string, expectedKey: KeyObject | null): Promise<VerifiedBundle> {
  // Asked before it is opened: opening a pipe waits for somebody who writes into it.
  if (!(await stat(path)).isFile()) {
    throw new DomainError('invalid-request', `${path} is no file; expected an archive that was exported.`);
  }
  const handle = await open(path);
  try {
    return await verifyOpened(handle, expectedKey);
  } finally {
    await handle.close();
  }
}

async function verifyOpened(handle: FileHandle, expectedKey: KeyObject | null): Promise<VerifiedBundle> {
  const problems: string[] = [];
  const archive = await readFiles(handle, problems);
  const { index } = archive;
  checkListing(archive, problems);
  const proof = checkProof(archive, expectedKey);
  problems.push(...proof.problems);
  return {
    run: index?.run ?? null,
    keyId: proof.keyId,
    data: index?.data ?? null,
    files: archive.found.size,
    sizeBytes: (await handle.stat()).size,
    problems: [...new Set(problems)],
  };
}

interface Archive extends ReadFiles {
  order: string[];
}

async function readFiles(handle: FileHandle, problems: string[]): Promise<Archive> {
  const archive: Archive = { found: new Map(), contents: new Map(), order: [], index: null };
  let keptBytes = 0;
  let next: ReturnType<typeof nextInBundle> | null = null;
  await readArchive(handle, {
    expectedNext: (path) => next?.(path) ?? null,
    wants(path, sizeBytes) {
      if (!isRead(path) || archive.found.has(path)) return false;
      if (sizeBytes > keptBytesMax || keptBytes + sizeBytes > keptInAllBytesMax) return false;
      keptBytes += sizeBytes;
      return true;
    },
    onFile(file, bytes) {
      const { path } = file;
      if (!isSafe(path)) problems.push(`${quoted(path)} is no path inside a folder`);
      if (archive.found.has(path)) {
        problems.push(`${quoted(path)} is there twice`);
        return;
      }
      archive.found.set(path, file);
      archive.order.push(path);
      if (bytes !== null) archive.contents.set(path, bytes);
      if (path !== bundleFiles.index || bytes === null) return;
      archive.index = readIndex(bytes);
      if (archive.index !== null) next = nextInBundle(firstTwo(archive), archive.index.files);
    },
    onProblem: (problem) => problems.push(problem),
  });
  return archive;
}

function firstTwo({ found }: ReadFiles): BundledFile[] {
  return [bundleFiles.sums, bundleFiles.index].flatMap((path) => found.get(path) ?? []);
}

/** What has to be looked into, besides being hashed. */
function isRead(path: string): boolean {
  const top: readonly string[] = Object.values(bundleFiles).filter((name) => name !== bundleFiles.source);
  return top.includes(path) || /^data\/[^/]+\.jsonl$/.test(path);
}

function isSafe(path: string): boolean {
  return !path.includes('\0') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/** The files against both lists, and the lists against each other. */
function checkListing({ found, contents, order, index }: Archive, problems: string[]): void {
  if (index === null) {
    const what = found.has(bundleFiles.index) ? 'can not be read' : 'is missing';
    problems.push(`${bundleFiles.index} ${what}, so nothing says which files belong here: this is no bundle of Assay`);
    return;
  }
  const listed = new Map(index.files.map((file) => [file.path, file]));
  for (const wanted of index.files) {
    const file = found.get(wanted.path);
    if (file === undefined) problems.push(`${quoted(wanted.path)} is missing`);
    else if (file.sizeBytes !== wanted.sizeBytes)
      problems.push(`${quoted(wanted.path)} has ${file.sizeBytes} bytes, expected ${wanted.sizeBytes}`);
    else if (file.sha256 !== wanted.sha256)
      problems.push(`${quoted(wanted.path)} has sha256 ${file.sha256}, expected ${wanted.sha256}`);
  }
  const first: readonly string[] = [bundleFiles.sums, bundleFiles.index];
  const extra = order.filter((path) => !listed.has(path) && !first.includes(path));
  problems.push(...extra.map((path) => `${quoted(path)} does not belong here: ${bundleFiles.index} does not list it`));
  checkOrder(order, [...first, ...index.files.map(({ path }) => path)], problems);
  const self = found.get(bundleFiles.index);
  if (self === undefined) return;
  const sums = encodeSums([{ path: self.path, sha256: self.sha256 }, ...index.files]);
  const given = contents.get(bundleFiles.sums);
  if (given === undefined) problems.push(`${bundleFiles.sums} is missing`);
  else if (!given.equals(sums))
    problems.push(`${bundleFiles.sums} says something else than ${bundleFiles.index}: ${firstLineOf(given, sums)}`);
}

/** Files that are missing or do not belong here are named elsewhere. */
function checkOrder(order: readonly string[], wanted: readonly string[], problems: string[]): void {
  const [have, want] = [new Set(order), new Set(wanted)];
  const expected = wanted.filter((path) => have.has(path));
  const found = order.filter((path) => want.has(path));
  const at = found.findIndex((path, index) => path !== expected[index]);
  if (at >= 0) problems.push(`${quoted(found[at] ?? '')} stands where ${quoted(expected[at] ?? '')} belongs`);
}

function firstLineOf(given: Buffer, wanted: Buffer): string {
  const [found, expected] = [given, wanted].map((bytes) => bytes.toString('utf8').split('\n'));
  const at = expected?.findIndex((line, index) => line !== found?.[index]) ?? 0;
  return `line ${at + 1} is ${quoted(found?.[at] ?? '')}, expected ${quoted(expected?.[at] ?? '')}`;
}
