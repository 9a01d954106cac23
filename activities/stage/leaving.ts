// Whether this node is to stop its stages, so that they start elsewhere: its worker ends, or a person wants it empty now.

export interface Leaving {
  /** Aborts when the stages are to be stopped. */
  signal(): AbortSignal;
  /** How long a stage gets before it is killed; null leaves it the grace it asked for. */
  killAfterMs(): number | null;
  leave(killAfterMs: number | null): void;
  /** Takes it back for the stages that start from now on. */
  stay(): void;
}

export function createLeaving(): Leaving {
  let controller = new AbortController();
  let killAfterMs: number | null = null;
  return {
    signal: () => controller.signal,
    killAfterMs: () => killAfterMs,
    leave(afterMs) {
      killAfterMs = afterMs;
      controller.abort(new Error('The node stops its stages.'));
    },
    stay() {
      if (controller.signal.aborted) controller = new AbortController();
    },
  };
}
