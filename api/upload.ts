// Raw request bodies, kept in a temporary file while someone looks at them.
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '#core/errors.ts';
import type { ApiFacts } from './deps.ts';

/** The body as a stream. The content type was checked before, so it is one. */
export function bodyStream(request: FastifyRequest): Readable {
  if (request.body instanceof Readable) return request.body;
  throw new TypeError('A route with a raw body got a parsed one.');
}

/** Gives the body as a file that is gone afterwards. @throws payload-too-large as soon as the cap is passed. */
export async function withUploadedFile<T>(
  request: FastifyRequest,
  facts: ApiFacts,
  use: (file: string) => Promise<T>,
): Promise<T> {
  refuseDeclaredSize(request, facts.uploadBytesMax);
  await mkdir(facts.temporaryDir, { recursive: true, mode: 0o700 });
  const file = join(facts.temporaryDir, `upload-${randomUUID()}`);
  try {
    const target = createWriteStream(file, { mode: 0o600, flags: 'wx' });
    await pipeline(bodyStream(request), cap(facts.uploadBytesMax), target);
    return await use(file);
  } finally {
    await rm(file, { force: true });
  }
}

/** A client that says how much it will send is refused before it sends. */
export function refuseDeclaredSize(request: FastifyRequest, bytesMax: number): void {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax);
}

function cap(bytesMax: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > bytesMax) done(tooLarge(bytesMax));
      else done(null, chunk);
    },
  });
}

function tooLarge(bytesMax: number): DomainError {
  return new DomainError(
    'payload-too-large',
    `The body is larger than ${bytesMax} bytes, which is the most this server takes.`,
  );
}
