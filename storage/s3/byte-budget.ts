// A bound on the bytes that are in memory at once, over everything one store does.

export interface ByteBudget {
  /** Waits, in order, until there is room for so many bytes; the answer gives them back. */
  take(bytes: number): Promise<() => void>;
}

export function createByteBudget(bytesMax: number): ByteBudget {
  let free = bytesMax;
  const waiting: Array<{ bytes: number; start: () => void }> = [];
  const admit = () => {
    for (let next = waiting[0]; next !== undefined && next.bytes <= free; next = waiting[0]) {
      waiting.shift();
      free -= next.bytes;
      next.start();
    }
  };
  return {
    async take(wanted) {
      // What is larger than the whole budget takes all of it.
      const bytes = Math.min(wanted, bytesMax);
      await new Promise<void>((start) => {
        waiting.push({ bytes, start });
        admit();
      });
      let given = false;
      return () => {
        if (given) return;
        given = true;
        free += bytes;
        admit();
      };
    },
  };
}
