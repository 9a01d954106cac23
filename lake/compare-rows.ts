// What differs between the rows of two stored files.
import { join } from 'node:path';
import type { DataFormat } from '#core/project.ts';
import type { RowsDifference } from './engine/operations.ts';
import type { Lake } from './lake.ts';

export interface StoredRows {
  sha256: string;
  format: DataFormat;
}

export interface ComparedBy {
  /** The column that rows are matched by; null matches them by their order. */
  key: string | null;
  /** Differing rows that are answered. */
  examplesMax: number;
}

/**
 * Fails with `invalid-request` for files that can not be read, `query-limit` for such as are too large for a query
 * process, and as the blob store does.
 */
export function compareRows(
  lake: Pick<Lake, 'store' | 'engine'>,
  before: StoredRows,
  after: StoredRows,
  by: ComparedBy,
): Promise<RowsDifference> {
  return lake.engine.work(async (session) => {
    const copy = async (name: string, { sha256, format }: StoredRows) => {
      const file = join(session.directory, `${name}.${format}`);
      await lake.store.copyTo(sha256, file);
      return { file, format };
    };
    const files = { before: await copy('before', before), after: await copy('after', after) };
    return await session.call('compareRows', { ...files, ...by });
  });
}

/** By the file's name, as pandas and Polars write it; null for what is no table. */
export function rowsFormatOf(path: string): DataFormat | null {
  const [, ending = ''] = /\.([a-z]+)(?:\.gz|\.zst)?$/i.exec(path) ?? [];
  const formats: Record<string, DataFormat> = {
    parquet: 'parquet',
    pq: 'parquet',
    csv: 'csv',
    tsv: 'csv',
    jsonl: 'jsonl',
    ndjson: 'jsonl',
  };
  return formats[ending.toLowerCase()] ?? null;
}
