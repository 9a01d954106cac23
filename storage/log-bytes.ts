// The bytes of one attempt's log, in order and without gaps, wherever each stretch lies.
import type { Database } from '#db/connect.ts';
import { readLogStretches } from '#db/logs.ts';
import type { BlobStore } from './blob-store.ts';
import { readBlob } from './keep.ts';

const stretchesMax = 16;

export interface LogBytes {
  offsetBytes: number;
  bytes: Buffer;
}

/** Stretch by stretch from a byte on, so that a log of any length costs little memory. */
export async function* readLog(
  { db, store }: { db: Database; store: BlobStore },
  log: { runId: string; step: string; attempt: number },
  from: number,
): AsyncGenerator<LogBytes> {
  let position = from;
  for (;;) {
    const stretches = await readLogStretches(db, log, position, stretchesMax);
    if (stretches.length === 0) return;
    for (const stretch of stretches) {
      const skip = position - stretch.offsetBytes;
      const whole =
        stretch.inline ?? (stretch.sha256 === null ? Buffer.alloc(0) : await readBlob(store, stretch.sha256));
      const bytes = whole.subarray(Math.max(0, skip));
      if (bytes.length === 0) return;
      yield { offsetBytes: Math.max(position, stretch.offsetBytes), bytes };
      position = stretch.offsetBytes + whole.length;
    }
  }
}
