// Appending a file to a table: read and rewritten as one canonical Parquet segment, then one row in the manifest.
import { createWriteStream } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DomainError } from '#core/errors.ts';
import { lockLiveBlobs } from '#db/blobs.ts';
import type { Transaction } from '#db/connect.ts';
import { type SegmentRow, type TableRow, findSegmentByKey, findTable, insertSegment, saveTable } from '#db/lake.ts';
import { keepBlob } from '#storage/keep.ts';
import { appendAlone } from './as-of.ts';
import type { DataFormat, LakeColumn } from './column-types.ts';
import type { Lake } from './lake.ts';
import { requireTableName } from './names.ts';

export interface Append {
  table: string;
  source: Readable | { file: string };
  format: DataFormat;
  /** Who appends; shown with the segment. */
  by: string;
  /** A repeated append with the same key and rows is the same segment; with other rows it is refused. */
  appendKey?: string;
  signal?: AbortSignal;
}

export interface AppendedSegment extends SegmentRow {
  /** The table did not exist before. */
  created: boolean;
  /** The append key was known: nothing was added. */
  repeated: boolean;
  /** Columns the table did not have before; rows of older segments have null there. */
  newColumns: LakeColumn[];
}

/**
 * Creates the table when it does not exist. Refuses with `schema-drift` what does not fit its columns, with
 * `invalid-request` what can not be read. A query that is older than the append never sees it.
 */
export function appendSegment(lake: Lake, append: Append): Promise<AppendedSegment> {
  const table = requireTableName(append.table);
  return lake.engine.work(
    async (session) => {
      const file = join(session.directory, `input.${append.format}`);
      await provide(append.source, file);
      const out = join(session.directory, 'segment.parquet');
      for (;;) {
        const before = await findTable(lake.db, table);
        const { rows, columns } = await session.call('ingest', {
          file,
          format: append.format,
          table,
          expected: before?.columns ?? null,
          out,
        });
        const blob = await keepBlob(lake.db, lake.store, { file: out, adopt: true });
        const committed = await commit(lake, append, before, { ...blob, rows, columns });
        if (committed !== null) return committed;
      }
    },
    append.signal === undefined ? {} : { signal: append.signal },
  );
}

/** A link spares a copy, and its name is known to hold nothing that DuckDB would take for a pattern. */
async function provide(source: Append['source'], file: string): Promise<void> {
  if ('file' in source) await symlink(resolve(source.file), file);
  else await pipeline(source, createWriteStream(file));
}

interface Written {
  sha256: string;
  sizeBytes: number;
  rows: number;
  columns: LakeColumn[];
}

/** Null when another append changed the table's columns meanwhile: the file has to be compared with them again. */
function commit(
  lake: Lake,
  append: Append,
  before: TableRow | null,
  written: Written,
): Promise<AppendedSegment | null> {
  return appendAlone(lake.db, async (tx, committedAt) => {
    const repeated = await findRepeated(tx, append, written);
    if (repeated !== null) return { ...repeated, created: false, repeated: true, newColumns: [] };
    const now = await findTable(tx, append.table);
    if (JSON.stringify(now?.columns) !== JSON.stringify(before?.columns)) return null;
    const newColumns = columnsMissingIn(before?.columns ?? [], written.columns);
    const columns = [...(before?.columns ?? []), ...newColumns];
    await lockLiveBlobs(tx, [written.sha256]);
    if (newColumns.length > 0) await saveTable(tx, { name: append.table, columns, createdBy: append.by });
    const segment = { ...written, table: append.table, committedAt, committedBy: append.by };
    await insertSegment(tx, { ...segment, appendKey: append.appendKey ?? null });
    return { ...segment, created: before === null, repeated: false, newColumns };
  });
}

async function findRepeated(tx: Transaction, append: Append, written: Written): Promise<SegmentRow | null> {
  if (append.appendKey === undefined) return null;
  const known = await findSegmentByKey(tx, append.appendKey);
  if (known === null || (known.table === append.table && known.sha256 === written.sha256)) return known;
  throw new DomainError(
    'idempotency-conflict',
    `The append key "${append.appendKey}" was used for other rows, in table ${known.table} at ${known.committedAt}. Use a new key for new rows.`,
  );
}

function columnsMissingIn(known: readonly LakeColumn[], found: readonly LakeColumn[]): LakeColumn[] {
  const names = new Set(known.map(({ name }) => name.toLowerCase()));
  return found.filter(({ name }) => !names.has(name.toLowerCase()));
}
