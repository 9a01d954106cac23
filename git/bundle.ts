import { open } from 'node:fs/promises';
import { DomainError } from '#core/errors.ts';
import { isFullHash } from './reference.ts';

/** The head of a git bundle (gitformat-bundle(5), versions 2 and 3). */
export interface BundleHeader {
  /** Commits the sender assumes are here already. */
  prerequisites: string[];
  /** Commits the bundle's references name. The names themselves are never used. */
  tips: string[];
  /** Where the pack starts, in bytes. */
  packOffset: number;
}

const headerBytesMax = 1024 ** 2;

function refuse(why: string): never {
  throw new DomainError('source-refused', `The bundle ${why}; make it with git bundle from a complete repository.`);
}

async function readStart(file: string): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(headerBytesMax);
    const { bytesRead } = await handle.read(buffer, 0, headerBytesMax, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function checkCapability(line: string): void {
  if (line.startsWith('@filter=')) refuse('is a partial one, without all files');
  if (line.startsWith('@object-format=') && line !== '@object-format=sha1') {
    refuse('has SHA-256 object names, which are not supported yet');
  }
}

function hashOf(line: string): string {
  const sha = line.split(' ', 1)[0] ?? '';
  if (!isFullHash(sha)) refuse('has a damaged header');
  return sha;
}

/** Throws source-refused for anything that is not a complete bundle header of at most 1 MiB. */
export async function readBundleHeader(file: string): Promise<BundleHeader> {
  const start = await readStart(file);
  const end = start.indexOf('\n\n');
  if (end < 0) refuse('is truncated or not a bundle');
  const [signature = '', ...lines] = start.toString('latin1', 0, end).split('\n');
  if (!/^# v[23] git bundle$/.test(signature)) refuse('is not a git bundle of version 2 or 3');
  lines.filter((line) => line.startsWith('@')).forEach(checkCapability);
  const rest = lines.filter((line) => !line.startsWith('@'));
  return {
    prerequisites: rest.filter((line) => line.startsWith('-')).map((line) => hashOf(line.slice(1))),
    tips: rest.filter((line) => !line.startsWith('-')).map(hashOf),
    packOffset: end + 2,
  };
}
