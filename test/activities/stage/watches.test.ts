import { expect, it } from 'vitest';
import { createWatches } from '#activities/stage/watches.ts';

const never = new AbortController().signal;

/** Watches until it is told to let go, then takes its time. */
function patient(events: string[], name: string) {
  return (abort: AbortSignal) =>
    new Promise<string>((resolve) => {
      events.push(`${name} begins`);
      const end = () =>
        setImmediate(() => {
          events.push(`${name} ends`);
          resolve(name);
        });
      if (abort.aborted) end();
      else abort.addEventListener('abort', end);
    });
}

it('a later watcher of a launch makes the earlier one let go and begins when it has ended', async () => {
  const watches = createWatches();
  const events: string[] = [];
  const first = watches.alone('run.train.1', never, patient(events, 'first'));
  const second = watches.alone('run.train.1', never, async () => {
    events.push('second begins');
    expect(watches.has('run.train.1')).toBe(true);
  });
  await Promise.all([first, second]);
  expect(events).toEqual(['first begins', 'first ends', 'second begins']);
  expect(watches.has('run.train.1')).toBe(false);
});

it('an earlier watcher that ends late does not make the launch look unwatched', async () => {
  const watches = createWatches();
  const events: string[] = [];
  const first = watches.alone('run.train.1', never, patient(events, 'first'));
  const release = new AbortController();
  const second = watches.alone('run.train.1', release.signal, patient(events, 'second'));
  await first;
  expect(watches.has('run.train.1')).toBe(true);
  release.abort();
  await second;
  expect(watches.has('run.train.1')).toBe(false);
});

it('watchers of different launches do not disturb each other', async () => {
  const watches = createWatches();
  const release = new AbortController();
  const one = watches.alone('run.train.1', release.signal, patient([], 'one'));
  await watches.alone('run.train.2', never, () => Promise.resolve());
  expect(watches.has('run.train.1')).toBe(true);
  release.abort();
  expect(await one).toBe('one');
});
