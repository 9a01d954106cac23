// Sending stored bytes: ranges, validators, and headers that keep a browser from ever running what a run produced.
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BlobStore, ByteRange } from '#storage/blob-store.ts';
import { HttpError } from './problems.ts';

export interface BlobAnswer {
  sha256: string;
  sizeBytes: number;
  mediaType: string;
  /** A name for the downloaded file; any path before it is left out. */
  filename: string;
}

/** Understands Range (one), If-Range, If-None-Match and `redirect=yes`; the ETag is the sha256. */
export async function sendBlob(
  request: FastifyRequest,
  reply: FastifyReply,
  store: BlobStore,
  blob: BlobAnswer,
): Promise<FastifyReply> {
  const etag = `"${blob.sha256}"`;
  fileHeaders(reply, blob).header('etag', etag).header('accept-ranges', 'bytes');
  if (matches(request.headers['if-none-match'], etag)) return reply.status(304).send();
  const link = wantsLink(request) ? await linkTo(store, blob) : null;
  if (link !== null) return reply.header('cache-control', 'no-store').redirect(link, 307);
  const range = wantedRange(request, etag, blob.sizeBytes);
  if (range === null) return reply.header('content-length', blob.sizeBytes).send(await store.get(blob.sha256));
  return reply
    .status(206)
    .header('content-range', `bytes ${range.start}-${range.end}/${blob.sizeBytes}`)
    .header('content-length', range.end - range.start + 1)
    .send(await store.get(blob.sha256, range));
}

/** Long enough to begin a download with; one that has begun goes on after it. */
const linkMs = 10 * 60_000;

function wantsLink({ query }: FastifyRequest): boolean {
  return (query as { redirect?: 'yes' }).redirect === 'yes';
}

/** The headers that keep a browser from showing a page can not travel with a link, so that its type says nothing. */
function linkTo(store: BlobStore, { sha256, filename }: BlobAnswer): Promise<string | null> {
  return store.link(sha256, {
    disposition: attachment(filename),
    mediaType: 'application/octet-stream',
    expiresInMs: linkMs,
  });
}

/** Headers of any download. The type is what was stored, but nothing may be shown, framed or run. */
export function fileHeaders(
  reply: FastifyReply,
  { mediaType, filename }: Pick<BlobAnswer, 'mediaType' | 'filename'>,
): FastifyReply {
  return reply
    .header('content-type', safeMediaType(mediaType))
    .header('content-disposition', attachment(filename))
    .header('content-security-policy', "sandbox; default-src 'none'")
    .header('x-content-type-options', 'nosniff')
    .header('cache-control', 'private, no-cache');
}

function safeMediaType(mediaType: string): string {
  if (!/^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i.test(mediaType)) {
    return 'application/octet-stream';
  }
  return mediaType.startsWith('text/') ? `${mediaType}; charset=utf-8` : mediaType;
}

/** RFC 6266 with RFC 5987: a plain name for old clients, the true one percent-encoded. */
function attachment(path: string): string {
  const name = path.split(/[/\\]/).at(-1) ?? '';
  const plain = name.replaceAll(/[^\w.+ -]/g, '_').slice(0, 150) || 'download';
  const exact = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${exact}`;
}

export function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((item) => item.trim() === '*' || item.trim().replace(/^W\//, '') === etag);
}

/** Null sends everything: no range, one we do not understand, or one that was made for other bytes (RFC 9110 §14). */
export function wantedRange(request: FastifyRequest, etag: string, sizeBytes: number): ByteRange | null {
  const { range, 'if-range': ifRange } = request.headers;
  if (range === undefined || (ifRange !== undefined && ifRange !== etag)) return null;
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range.trim()) ?? [];
  if (first === '' && last === '') return null;
  const start = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (first !== '' && last !== '' && Number(last) < start) return null;
  if (start < sizeBytes && start <= end) return { start, end };
  throw new HttpError(
    'range-not-satisfiable',
    `The file has ${sizeBytes} bytes; ${range.slice(0, 100)} lies outside.`,
    {
      'content-range': `bytes */${sizeBytes}`,
    },
  );
}
