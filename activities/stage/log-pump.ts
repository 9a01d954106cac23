// Carries a stage's output to where it is read, masked, while the stage runs.
import type { AttemptId } from '#db/attempts.ts';
import type { Database } from '#db/connect.ts';
import { lastLogChunk, putLogChunk } from '#db/log-chunks.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';
import { createMask } from './mask.ts';

const tickMs = 300;
const readBytesMax = 4 * 1024 * 1024;
/** A chunk this large moves from its row to a blob. */
const chunkBytesMax = 256 * 1024;
const tailLinesMax = 20;
const tailBytesMax = 8 * 1024;

export interface LogSource {
  logs(fromByte: number, maxBytes: number): Promise<Buffer>;
}

export interface LogPump {
  /** The last lines so far, newest last. */
  tail(): string[];
  /** Reads what is left and writes it; the pump is over then. */
  finish(): Promise<void>;
  /** Stops without reading on; another worker may go on from what is written. */
  abandon(): Promise<void>;
}

/**
 * Goes on behind what an earlier worker has written: masking is deterministic, so reading the output again from its
 * start gives the same bytes, and those that are stored are skipped. Trouble in the world is tried again at the next
 * tick; only `finish` reports it. `heading` comes before the stage's own output and is the same for every worker.
 */
export async function startLogPump(
  deps: { db: Database; store: BlobStore },
  id: AttemptId,
  source: LogSource,
  secrets: readonly string[],
  heading: string,
): Promise<LogPump> {
  const writer = createChunkWriter(deps, id, await lastLogChunk(deps.db, id));
  if (heading !== '') writer.push(Buffer.from(heading));
  const mask = createMask(secrets);
  let rawBytes = 0;
  let stopped = false;
  let wake: () => void = () => undefined;

  async function pump(): Promise<boolean> {
    // What could not be written is written first, so that an outage does not gather the whole log in memory.
    await writer.flush();
    const raw = await source.logs(rawBytes, readBytesMax);
    if (raw.length > 0) writer.push(mask.push(raw));
    rawBytes += raw.length;
    await writer.flush();
    return raw.length > 0;
  }

  const loop = (async () => {
    while (!stopped) {
      const more = await pump().catch(() => false);
      if (!more) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, tickMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    }
  })();
  const stop = async () => {
    stopped = true;
    wake();
    await loop;
  };

  return {
    tail: writer.tail,
    abandon: stop,
    async finish() {
      await stop();
      while (await pump());
      writer.push(mask.end());
      await writer.flush();
    },
  };
}

function createChunkWriter(
  deps: { db: Database; store: BlobStore },
  id: AttemptId,
  stored: { offsetBytes: number; inline: Buffer | null },
) {
  let offsetBytes = stored.offsetBytes;
  let chunk = stored.inline ?? Buffer.alloc(0);
  let skipBytes = offsetBytes + chunk.length;
  let dirty = false;
  let end = Buffer.alloc(0);

  return {
    push(bytes: Buffer) {
      end = Buffer.concat([end, bytes.subarray(-tailBytesMax)]).subarray(-tailBytesMax);
      const fresh = bytes.subarray(Math.min(skipBytes, bytes.length));
      skipBytes -= bytes.length - fresh.length;
      if (fresh.length === 0) return;
      chunk = Buffer.concat([chunk, fresh]);
      dirty = true;
    },
    async flush() {
      if (!dirty) return;
      const sizeBytes = chunk.length;
      if (sizeBytes < chunkBytesMax) {
        await putLogChunk(deps.db, id, { offsetBytes, sizeBytes, inline: chunk, sha256: null });
      } else {
        const { sha256 } = await keepBlob(deps.db, deps.store, chunk);
        await putLogChunk(deps.db, id, { offsetBytes, sizeBytes, inline: null, sha256 });
        offsetBytes += sizeBytes;
        chunk = Buffer.alloc(0);
      }
      dirty = false;
    },
    tail: () => lastLines(end),
  };
}

function lastLines(bytes: Buffer): string[] {
  const lines = bytes.toString('utf8').split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  // A progress bar rewrites its line; only its last state is of interest.
  return lines.slice(-tailLinesMax).map((line) => printable(line.slice(line.lastIndexOf('\r') + 1)));
}

/** The lines become text of a row, which has no place for the character 0, and nobody reads the other controls. */
function printable(line: string): string {
  return line.replaceAll(/(?!\t)\p{Cc}/gu, '\u{fffd}');
}
