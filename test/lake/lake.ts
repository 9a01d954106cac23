// A lake of its own for one test file: real Postgres, a disk store and query processes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { connect } from '#db/connect.ts';
import { appendSegment, type Append } from '#lake/append.ts';
import { type EngineOptions, createLakeEngine } from '#lake/engine/engine.ts';
import type { Lake } from '#lake/lake.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createTestDatabase } from '../support/postgres.ts';

export interface TestLake extends Lake {
  ownerUrl: string;
  /** An empty directory for the test's own files. */
  scratch: string;
  /** Writes the text as a file and appends it. */
  append(
    table: string,
    format: Append['format'],
    text: string | Buffer,
    more?: Partial<Append>,
  ): ReturnType<typeof appendSegment>;
  remove(): Promise<void>;
}

export async function createTestLake(options: Partial<EngineOptions> = {}): Promise<TestLake> {
  const database = await createTestDatabase();
  const connection = connect(database.appUrl);
  const scratch = await mkdtemp(join(tmpdir(), 'assay-lake-'));
  const engine = createLakeEngine({ cacheDir: join(scratch, 'cache'), memoryMib: 512, ...options });
  const store = await createDiskStore({ root: join(scratch, 'blobs'), durability: 'rename-only' });
  const lake: Lake = { db: connection.db, store, engine };
  return {
    ...lake,
    ownerUrl: database.ownerUrl,
    scratch,
    append: async (table, format, text, more = {}) => {
      const source = Readable.from([Buffer.from(text)]);
      return appendSegment(lake, { table, format, source, by: 'tester', ...more });
    },
    remove: async () => {
      await engine.close();
      await connection.close();
      await database.drop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

export async function scratchFile(lake: TestLake, name: string, content: string | Buffer): Promise<string> {
  const path = join(lake.scratch, name);
  await writeFile(path, content);
  return path;
}
