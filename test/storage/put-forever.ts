// Puts blobs until it is killed; says once that it has begun.
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createDiskStore } from '#storage/disk.ts';

const store = await createDiskStore({ root: process.argv[2] ?? '' });
await store.put(randomBytes(1000));
process.stdout.write('begun\n');
for (;;) {
  const bytes = randomBytes(3_000_000);
  await Promise.all([store.put(bytes), store.put(Readable.from([bytes.subarray(1)]))]);
}
