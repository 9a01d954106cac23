// A file that is made for one answer and is gone when the answer was sent, or was not.
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyReply } from 'fastify';
import { type BlobAnswer, fileHeaders } from './blob-answer.ts';
import type { ApiFacts } from './deps.ts';

export async function sendExportedFile(
  reply: FastifyReply,
  facts: ApiFacts,
  what: Pick<BlobAnswer, 'mediaType' | 'filename'>,
  write: (path: string) => Promise<unknown>,
): Promise<FastifyReply> {
  await mkdir(facts.temporaryDir, { recursive: true, mode: 0o700 });
  const path = join(facts.temporaryDir, `export-${randomUUID()}`);
  try {
    await write(path);
    const { size } = await stat(path);
    const stream = createReadStream(path);
    stream.once('close', () => void rm(path, { force: true }));
    return fileHeaders(reply, what).header('content-length', size).send(stream);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}
