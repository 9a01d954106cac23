// Runs inside the query process: what a snapshot's columns look like. Extremes and nulls are exact and come from the
// file's own statistics; what costs a pass over the data is taken from a sample when there is much of it.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { LakeColumn } from '#lake/column-types.ts';
import type { ColumnStatistics } from './materialise.ts';
import type { ColumnProfile, Profile } from './operations.ts';
import { readRows } from './sandbox.ts';

/** A result of up to this many rows is summarised whole. */
const wholeRowsMax = 10_000;
/** A larger one in this many stretches of rows: reading a stretch does not decode what lies between. */
const stretches = 4;
const stretchRows = 2048;
/** Characters of a smallest or largest value. */
const textMax = 200;

interface Summary {
  column_name: string;
  min: string | null;
  max: string | null;
  approx_unique: string | number | null;
  avg: string | null;
  std: string | null;
  q25: string | null;
  q50: string | null;
  q75: string | null;
  null_percentage: string | number | null;
}

export async function profile(
  connection: DuckDBConnection,
  result: string,
  of: { rows: number; columns: readonly LakeColumn[]; statistics: ColumnStatistics },
): Promise<Profile> {
  const sampled = of.rows > wholeRowsMax;
  const source = sampled ? sample(result, of.rows) : `SELECT * FROM ${result}`;
  const summaries = await readRows<Summary>(connection, `SUMMARIZE ${source}`);
  const statistics = new Map(
    of.statistics.map(({ key, value }) => [unquote(key), new Map(value.map((one) => [one.key, one.value]))]),
  );
  return {
    rows: of.rows,
    sampledRows: sampled ? stretches * stretchRows : of.rows,
    columns: of.columns.map((column) => {
      const summary = summaries.find(({ column_name: name }) => name === column.name);
      return columnProfile(column, summary, statistics.get(column.name), sampled);
    }),
  };
}

function columnProfile(
  column: LakeColumn,
  summary: Summary | undefined,
  statistics: ReadonlyMap<string, string> | undefined,
  sampled: boolean,
): ColumnProfile {
  const nulls = statistics?.get('null_count');
  return {
    name: column.name,
    type: column.type,
    min: shortened(sampled ? statistics?.get('min') : summary?.min),
    max: shortened(sampled ? statistics?.get('max') : summary?.max),
    nulls: nulls === undefined ? null : Number(nulls),
    distinct: summary?.approx_unique === null || summary === undefined ? null : Number(summary.approx_unique),
    mean: summary?.avg ?? null,
    deviation: summary?.std ?? null,
    q25: summary?.q25 ?? null,
    q50: summary?.q50 ?? null,
    q75: summary?.q75 ?? null,
  };
}

/** A value may have gigabytes; the profile travels with every answer about the snapshot. */
function shortened(value: string | null | undefined): string | null {
  if (value === null || value === undefined) return null;
  return value.length > textMax ? `${value.slice(0, textMax)}…` : value;
}

/** Evenly spread, so that a sorted result is represented from end to end. */
function sample(result: string, rows: number): string {
  const numbered = result.replace(/\)$/, ', file_row_number = true)');
  return Array.from({ length: stretches }, (_, index) => {
    const first = Math.floor((index * (rows - stretchRows)) / (stretches - 1));
    const range = `file_row_number BETWEEN ${first} AND ${first + stretchRows - 1}`;
    return `SELECT * EXCLUDE (file_row_number) FROM ${numbered} WHERE ${range}`;
  }).join(' UNION ALL ');
}

/** RETURN_STATS quotes column names as SQL does. */
function unquote(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}
