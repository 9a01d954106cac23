// A bundle as one archive, from any byte on: equal facts give equal bytes, so a download that broke off can go on.
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '#core/errors.ts';
import { fileHeaders, matches, wantedRange } from '#api/blob-answer.ts';
import { sha256Of } from '#proof/bundle-files.ts';
import { encodeHeader, endBytes, paddingOf } from '#proof/tar-format.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { Bundle, BundlePart } from './compose-bundle.ts';

const asksMax = 16;

/** @throws DomainError blob-missing, before the first byte, naming what is gone. */
export async function sendBundle(
  request: FastifyRequest,
  reply: FastifyReply,
  store: BlobStore,
  { label, parts }: Bundle,
): Promise<FastifyReply> {
  await requireBlobs(store, parts);
  // The first part lists all others with their digests.
  const etag = `"${sha256Of(Buffer.from(JSON.stringify([1, parts[0]?.sha256])))}"`;
  const filename = `${label.replace('/', '-')}.bundle.tar`;
  fileHeaders(reply, { mediaType: 'application/x-tar', filename })
    .header('etag', etag)
    .header('accept-ranges', 'bytes');
  if (matches(request.headers['if-none-match'], etag)) return reply.status(304).send();
  const sizeBytes = parts.reduce((sum, part) => sum + spanOf(part), endBytes);
  const range = wantedRange(request, etag, sizeBytes);
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
  if (range !== null) reply.status(206).header('content-range', `bytes ${start}-${end}/${sizeBytes}`);
  const body = Readable.from(take(archive(parts, start), end - start + 1), { objectMode: false });
  return reply.header('content-length', end - start + 1).send(body);
}

/** Bytes of the archive from `start` on. */
async function* archive(parts: readonly BundlePart[], start: number): AsyncGenerator<Buffer> {
  let skip = start;
  for (const part of parts) {
    const span = spanOf(part);
    if (skip >= span) {
      skip -= span;
      continue;
    }
    const header = encodeHeader(part);
    if (skip < header.length) yield header.subarray(skip);
    const from = Math.max(0, skip - header.length);
    if (from < part.sizeBytes) yield* (await part.open(from)) as AsyncIterable<Buffer>;
    yield Buffer.alloc(paddingOf(part.sizeBytes)).subarray(Math.max(0, from - part.sizeBytes));
    skip = 0;
  }
  yield Buffer.alloc(endBytes).subarray(skip);
}

async function* take(chunks: AsyncIterable<Buffer>, sizeBytes: number): AsyncGenerator<Buffer> {
  let left = sizeBytes;
  for await (const chunk of chunks) {
    if (chunk.length > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

function spanOf(part: BundlePart): number {
  return encodeHeader(part).length + part.sizeBytes + paddingOf(part.sizeBytes);
}

/** An answer that has begun can only break off, which says nothing. */
async function requireBlobs(store: BlobStore, parts: readonly BundlePart[]): Promise<void> {
  const missing: string[] = [];
  const queue = parts.values();
  const worker = async () => {
    for (const { path, blob, sizeBytes } of queue) {
      if (blob === null) continue;
      const found = await store.stat(blob);
      if (found?.sizeBytes !== sizeBytes) missing.push(path);
    }
  };
  await Promise.all(Array.from({ length: asksMax }, worker));
  if (missing.length === 0) return;
  const named = missing.toSorted().slice(0, 5).join(', ');
  throw new DomainError(
    'blob-missing',
    `The blob store lacks ${missing.length} files of the run: ${named}${missing.length > 5 ? ' and others' : ''}. Restore them from a backup, then export again.`,
  );
}
