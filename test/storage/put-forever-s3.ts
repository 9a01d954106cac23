// Puts small and large blobs into a bucket until it is killed; says once that it has begun.
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createS3Store, type S3StoreOptions } from '#storage/s3.ts';

const store = await createS3Store(JSON.parse(process.argv[2] ?? '') as S3StoreOptions);
process.stdout.write('begun\n');
for (;;) {
  const bytes = randomBytes(12_000_000);
  await Promise.all([
    store.put(bytes.subarray(0, 2_000_000)),
    store.put(Readable.from([bytes.subarray(1), bytes])),
    store.put(Readable.from([bytes.subarray(1, 3_000_000)])),
  ]);
}
