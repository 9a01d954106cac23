// Server-sent events: one stream per request, with heartbeats, until its source ends, the client leaves or we stop.
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';

export interface SentEvent {
  event: string;
  /** What Last-Event-ID brings back. Must not contain line breaks. */
  id?: string;
  data: unknown;
}

const heartbeatMs = 15_000;

/** `events` gets a signal that says when nobody listens any more. An error in it ends the stream, so clients come back. */
export function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  stopping: AbortSignal,
  events: (signal: AbortSignal) => AsyncIterable<SentEvent>,
): FastifyReply {
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, stopping]);
  const stream = new PassThrough();
  stream.write(': connected\n\n');
  reply.raw.once('close', () => gone.abort());
  void pump(stream, events(signal), signal).catch((error: unknown) => {
    request.log.error({ err: error, requestId: request.id }, 'an event stream ended early');
    stream.destroy();
  });
  return reply
    .header('content-type', 'text/event-stream; charset=utf-8')
    .header('cache-control', 'no-store')
    .header('x-accel-buffering', 'no')
    .send(stream);
}

async function pump(stream: PassThrough, events: AsyncIterable<SentEvent>, signal: AbortSignal): Promise<void> {
  const heartbeat = setInterval(() => stream.write(': heartbeat\n\n'), heartbeatMs);
  try {
    for await (const event of events) {
      if (signal.aborted) break;
      // A slow reader slows the source down, so that nothing piles up here.
      if (!stream.write(spell(event))) await once(stream, 'drain', { signal }).catch(ignoreAbort);
    }
  } finally {
    clearInterval(heartbeat);
    stream.end();
  }
}

function spell({ event, id, data }: SentEvent): string {
  return `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error;
}
