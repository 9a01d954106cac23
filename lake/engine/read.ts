// Runs inside the query process: reading Parquet files of ours back, as rows or in another format.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Operations, SandboxLimits } from './operations.ts';
import { describe, openSandbox, quoteText, readRows, textList } from './sandbox.ts';

type Preview = Operations['preview'];
type Convert = Operations['convert'];

export async function preview(limits: SandboxLimits, args: Preview['args']): Promise<Preview['answer']> {
  const connection: DuckDBConnection = await openSandbox(limits, args.files);
  const files = `read_parquet(${textList(args.files)}, union_by_name = true, hive_partitioning = false)`;
  const columns = await describe(connection, files);
  const rows = await readRows<Record<string, unknown>>(
    connection,
    `SELECT * FROM ${files} LIMIT ${Math.trunc(args.limit)}`,
  );
  const integers = columns.filter(({ type }) => type.endsWith('INT')).map(({ name }) => name);
  return { columns, rows: rows.map((row) => withNumbers(row, integers)) };
}

/** DuckDB's JSON spells every 64-bit integer as text; those that a JSON reader keeps exactly become numbers. */
function withNumbers(row: Record<string, unknown>, integers: readonly string[]): Record<string, unknown> {
  const exact = integers.filter((name) => typeof row[name] === 'string' && Number.isSafeInteger(Number(row[name])));
  return { ...row, ...Object.fromEntries(exact.map((name) => [name, Number(row[name])])) };
}

export async function convert(limits: SandboxLimits, args: Convert['args']): Promise<Convert['answer']> {
  const connection = await openSandbox(limits, [args.file]);
  const options = args.format === 'csv' ? 'FORMAT csv, HEADER' : 'FORMAT json';
  const file = `read_parquet(${quoteText(args.file)}, hive_partitioning = false)`;
  const result = await connection.runAndReadAll(`COPY (SELECT * FROM ${file}) TO ${quoteText(args.out)} (${options})`);
  return { rows: Number(result.getRows()[0]?.[0] ?? 0) };
}
