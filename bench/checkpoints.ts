// What watching costs a stage that saves 200 MB every few seconds: its own saves with and without a watcher beside it, and
// how long the watcher holds the event loop of its worker. On a busy machine the latter is mostly waiting for a processor.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { closedFiles, lookMs } from '#activities/stage/checkpoints/closed-files.ts';
import { lookAt } from '#activities/stage/checkpoints/look.ts';
import { storeFile } from '#activities/stage/checkpoints/store-file.ts';
import type { Database } from '#db/connect.ts';
import { createDiskStore } from '#storage/disk.ts';

const saves = 8;
/** Four seconds of arithmetic, then 200 MB aside and renamed, as a training does. */
const training = `
import hashlib, json, os, sys, time
block, works, writes = os.urandom(1 << 20), [], []
for epoch in range(${saves}):
    started = time.monotonic()
    for _ in range(4000): hashlib.sha256(block).digest()
    worked = time.monotonic()
    with open("last.tmp", "wb") as file:
        for _ in range(200): file.write(block)
    os.replace("last.tmp", "last.pt")
    works.append(worked - started); writes.append(time.monotonic() - worked)
print(json.dumps([sorted(works)[len(works) // 2], sorted(writes)[len(writes) // 2]]))
`;

/** Median seconds of work and of a save. */
async function train(directory: string): Promise<[number, number]> {
  const child = spawn('python3', ['-c', training], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return JSON.parse(text) as [number, number];
}

const home = await mkdtemp(join(tmpdir(), 'assay-bench-checkpoints-'));
const directory = join(home, 'checkpoints');
await mkdir(directory);
const store = await createDiskStore({ root: join(home, 'blobs') });
// Storing alone: the rows of a blob are a few statements and no bytes.
const db = { update: () => ({ set: () => ({ where: () => ({ returning: () => [{ sha256: '' }] }) }) }) };
const deps = { db: db as unknown as Database, store };

const alone = await train(directory);
const ending = new AbortController();
const delay = monitorEventLoopDelay({ resolution: 1 });
let stored = 0;
const watching = (async () => {
  let before = new Set<string>();
  const known = new Map<string, string>();
  while (!ending.signal.aborted) {
    const look = await lookAt(home, directory);
    for (const file of await closedFiles(look, before, known)) {
      if (known.has(file.stamp)) continue;
      const pace = { isSlow: () => true, signal: new AbortController().signal };
      const sha256 = await storeFile(deps, home, join('checkpoints', file.path), file, pace);
      if (sha256 !== null) {
        known.set(file.stamp, sha256);
        stored += 1;
      }
    }
    before = new Set(look.files.map(({ stamp }) => stamp));
    await setTimeout(lookMs);
  }
})();
delay.enable();
const watched = await train(directory);
delay.disable();
ending.abort();
await watching;
await rm(home, { recursive: true, force: true });

const percent = (a: number, b: number) => `${(((b - a) / a) * 100).toFixed(1)} %`;
console.log(
  `work of an epoch: ${alone[0].toFixed(2)} s alone, ${watched[0].toFixed(2)} s watched (${percent(alone[0], watched[0])})`,
);
console.log(
  `save of 200 MB:   ${alone[1].toFixed(2)} s alone, ${watched[1].toFixed(2)} s watched (${percent(alone[1], watched[1])})`,
);
console.log(
  `stored ${stored} of ${saves} files; event loop held: p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, max ${(delay.max / 1e6).toFixed(1)} ms`,
);
