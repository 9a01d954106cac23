// Many callers, few statements: what is asked while one statement runs goes into the next one together.

interface Asked<K, V> {
  key: K;
  resolve: (value: V) => void;
  reject: (error: unknown) => void;
}

/**
 * Answers are given in the order of the keys. At most one statement is under way, so a burst of calls costs as many
 * round trips as fit into its time, however many calls there are. A failing statement fails the calls in it.
 */
export function coalesce<K, V>(load: (keys: K[]) => Promise<V[]>, batchMax = 256): (key: K) => Promise<V> {
  let waiting: Array<Asked<K, V>> = [];
  let busy = false;

  async function flush(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchMax);
      waiting = waiting.slice(batchMax);
      try {
        const values = await load(batch.map((asked) => asked.key));
        for (const [at, asked] of batch.entries()) asked.resolve(values[at] as V);
      } catch (error) {
        for (const asked of batch) asked.reject(error);
      }
    }
    busy = false;
  }

  return (key) =>
    new Promise<V>((resolve, reject) => {
      waiting.push({ key, resolve, reject });
      if (busy) return;
      busy = true;
      // Calls of the same turn of the event loop share the first statement too.
      setImmediate(() => void flush());
    });
}
