// Who watches which launch in this process. Temporal may give an attempt to a second activity while the first has not
// heard yet that it was given up; two that write one log and one record would spoil both.

export interface Watches {
  has(launch: string): boolean;
  /**
   * Runs `work` as the only watcher of the launch: an earlier one is asked to let go and waited for. The signal that
   * `work` gets aborts with `abort`, and when a later watcher comes.
   */
  alone<R>(launch: string, abort: AbortSignal, work: (abort: AbortSignal) => Promise<R>): Promise<R>;
}

interface Watcher {
  release: AbortController;
  ended: Promise<void>;
}

export function createWatches(): Watches {
  const watchers = new Map<string, Watcher>();
  return {
    has: (launch) => watchers.has(launch),
    async alone(launch, abort, work) {
      const before = watchers.get(launch);
      const release = new AbortController();
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      const mine = { release, ended };
      watchers.set(launch, mine);
      try {
        before?.release.abort(new Error(`Another activity watches ${launch} now.`));
        await before?.ended;
        return await work(AbortSignal.any([abort, release.signal]));
      } finally {
        end();
        if (watchers.get(launch) === mine) watchers.delete(launch);
      }
    },
  };
}
