// What the lake asks of its query engine. Arguments and answers cross a process boundary as JSON.
import type { ErrorCode } from '#core/errors.ts';
import type { QueryFacts } from '#lake/guard.ts';
import type { DataFormat, LakeColumn } from '#lake/column-types.ts';

export type ParameterValue = string | number | boolean | null;

/** A table as one query sees it: its segments at the as-of, oldest first, as local files. */
export interface TableFiles {
  name: string;
  files: string[];
}

export interface Profile {
  rows: number;
  /** How many rows the statistics marked as estimates are taken from; equals `rows` for small results. */
  sampledRows: number;
  columns: ColumnProfile[];
}

/** Text, because a minimum can be a date or a number beyond JSON's. Estimates come from the sampled rows. */
export interface ColumnProfile {
  name: string;
  type: string;
  /** Exact where the file's own statistics have it. */
  min: string | null;
  max: string | null;
  nulls: number | null;
  /** Estimates. */
  distinct: number | null;
  mean: string | null;
  deviation: string | null;
  q25: string | null;
  q50: string | null;
  q75: string | null;
}

/** A file of rows that somebody gave us. */
export interface RowsFile {
  file: string;
  format: DataFormat;
}

export interface RowsDifference {
  rowsBefore: number;
  rowsAfter: number;
  /** With a key: rows whose key the other file lacks. Without one: by how many rows a file is longer. */
  added: number;
  removed: number;
  /** Rows that both have, with other values. */
  changed: number;
  /** The values are the same rows, each as often; only their order differs. Known only where the columns are equal. */
  sameInAnotherOrder: boolean;
  /** Some key occurs more than once; its rows are matched in their order. */
  keyRepeats: boolean;
  /** Those that differ. A type is null where the file lacks the column. */
  columns: Array<{
    name: string;
    typeBefore: string | null;
    typeAfter: string | null;
    changed: number;
    /** Largest absolute difference of numbers; null for others. */
    largest: number | null;
  }>;
  /** The first, in the order of the file; rows count from 1. */
  examples: Array<{
    what: 'changed' | 'added' | 'removed';
    row: number;
    key: string | null;
    values: Array<{ column: string; before: string | null; after: string | null }>;
  }>;
}

export interface Operations {
  /** Checks a query without looking at data. `canonical` is DuckDB's own spelling of it, free of comments and layout. */
  inspect: { args: { query: string }; answer: QueryFacts & { canonical: string; engine: string } };
  /** Runs a query over local files and writes its rows, in order, as Parquet to `out`. */
  materialise: {
    args: {
      query: string;
      tables: TableFiles[];
      parameters: Record<string, ParameterValue>;
      /** ISO 8601 with microseconds. */
      asOf: string;
      out: string;
    };
    answer: { rows: number; columns: LakeColumn[]; unorderedDigest: string; profile: Profile };
  };
  /** Reads a file somebody gave us and writes it as one canonical Parquet segment to `out`. */
  ingest: {
    args: { file: string; format: DataFormat; table: string; expected: LakeColumn[] | null; out: string };
    answer: { rows: number; columns: LakeColumn[] };
  };
  /** The first rows of Parquet files. */
  preview: {
    args: { files: string[]; limit: number };
    answer: { columns: LakeColumn[]; rows: Array<Record<string, unknown>> };
  };
  /** Writes a Parquet file's rows, in their order, as this engine writes them: what another version wrote becomes comparable. */
  rewrite: { args: { file: string; out: string }; answer: { rows: number; unorderedDigest: string } };
  /** What differs between the rows of two files, matched by a key column or by their order. */
  compareRows: {
    args: { before: RowsFile; after: RowsFile; key: string | null; examplesMax: number };
    answer: RowsDifference;
  };
  /** Writes a Parquet file's rows, in their order, in another format. */
  convert: { args: { file: string; format: 'csv' | 'jsonl'; out: string }; answer: { rows: number } };
}

export type Operation = keyof Operations;

/** The first message a process gets: what it may use. Locked before any text of a user is read. */
export interface SandboxLimits {
  threads: number;
  memoryMib: number;
  /** The only place the process may write to; also holds what does not fit into memory. */
  directory: string;
  directoryBytesMax: number;
}

export type EngineRequest =
  | { kind: 'open'; limits: SandboxLimits }
  | { [Name in Operation]: { kind: 'call'; name: Name; args: Operations[Name]['args'] } }[Operation];

export type EngineReply =
  | { kind: 'answer'; answer: unknown }
  | { kind: 'refused'; code: ErrorCode; message: string; details: Array<{ path: string; message: string }> }
  | { kind: 'failed'; message: string };
