// The output of a platform step, such as an installation. Nobody fences it: the step itself runs once at a time.
import { putStepLog } from '#db/log-chunks.ts';
import type { Database } from '#db/connect.ts';
import type { BlobStore } from '#storage/blob-store.ts';

const everyMs = 500;
/** An installation that prints more keeps its beginning. */
const logBytesMax = 1024 * 1024;

/** Enough to see what went wrong, little enough for the record of a run. */
const tailLinesMax = 20;
const tailLineMax = 300;

export interface StepLog {
  /** The last lines; a log that is full ends with what it was given last all the same. */
  tail: () => string[];
  line: (text: string) => void;
  close: () => Promise<void>;
}

export function openStepLog(deps: { db: Database; store: BlobStore }, id: { runId: string; step: string }): StepLog {
  let text = '';
  const last: string[] = [];
  let written = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = () => {
    if (text.length === written) return;
    written = text.length;
    const bytes = Buffer.from(text).subarray(0, logBytesMax);
    writing = writing
      .then(() => putStepLog(deps.db, id, bytes))
      .catch(() => {
        // The next flush writes the same bytes and more; the last one reports what is wrong.
        written = -1;
      });
  };
  const timer = setInterval(flush, everyMs);
  return {
    tail: () => [...last],
    line(line) {
      last.push(line.slice(0, tailLineMax));
      if (last.length > tailLinesMax) last.shift();
      if (text.length < logBytesMax) text += `${line}\n`;
    },
    async close() {
      clearInterval(timer);
      flush();
      await writing;
      if (written === -1) await putStepLog(deps.db, id, Buffer.from(text).subarray(0, logBytesMax));
    },
  };
}
