// One query process is kept ready while queries keep coming, because starting one takes longer than a small query.
import { type QueryProcess, spawnQueryProcess } from './query-process.ts';

/** A process that nobody needs for so long goes. */
const warmForMs = 60_000;

export interface WarmProcess {
  take(): QueryProcess;
  /** Ends the process unless it has only parsed queries and none other is ready; then makes another one ready. */
  giveBack(taken: QueryProcess): Promise<void>;
  close(): Promise<void>;
}

export function createWarmProcess(cacheDir: string): WarmProcess {
  let ready: QueryProcess | undefined;
  let closed = false;
  let expiry: NodeJS.Timeout | undefined;
  const drop = async () => {
    const dropped = ready;
    ready = undefined;
    await dropped?.end();
  };
  return {
    take: () => {
      if (closed) throw new Error('the lake engine is closed');
      clearTimeout(expiry);
      const taken = ready !== undefined && !ready.ended ? ready : spawnQueryProcess(cacheDir);
      ready = undefined;
      return taken;
    },
    giveBack: async (taken) => {
      const none = ready === undefined || ready.ended;
      const fresh = !taken.used && !taken.ended;
      if (!closed && none) ready = fresh ? taken : spawnQueryProcess(cacheDir);
      clearTimeout(expiry);
      if (!closed) expiry = setTimeout(() => void drop(), warmForMs).unref();
      if (ready !== taken) await taken.end();
    },
    close: async () => {
      closed = true;
      clearTimeout(expiry);
      await drop();
    },
  };
}
