/** Runs tasks of one key one after the other and tasks of different keys side by side, inside this process. */
export function createKeyedQueue(): <T>(key: string, task: () => Promise<T>) => Promise<T> {
  const tails = new Map<string, Promise<unknown>>();
  return (key, task) => {
    const before = tails.get(key) ?? Promise.resolve();
    const result = before.then(task, task);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    tails.set(key, tail);
    void tail.then(() => {
      if (tails.get(key) === tail) tails.delete(key);
    });
    return result;
  };
}

/**
 * Joins callers who ask for the same thing. A caller never joins work that already started, because what it asks about
 * may have changed since; it joins the one that starts next. So at most one runs and one waits per key.
 */
export function createCoalescer(): <T>(key: string, task: () => Promise<T>) => Promise<T> {
  const queue = createKeyedQueue();
  const waiting = new Map<string, Promise<unknown>>();
  return <T>(key: string, task: () => Promise<T>): Promise<T> => {
    const joined = waiting.get(key);
    if (joined !== undefined) return joined as Promise<T>;
    const result = queue(key, () => {
      waiting.delete(key);
      return task();
    });
    waiting.set(key, result);
    return result;
  };
}
