// Runs inside the query process: what a query would read, decided before any data is at hand.
import type { DuckDBConnection } from '@duckdb/node-api';
import { type EngineFunction, type FunctionRules, functionRules } from '#lake/function-rules.ts';
import { guardQuery, refusal } from '#lake/guard.ts';
import type { Operations } from './operations.ts';
import { readRows } from './sandbox.ts';

/** More text than this is no query that a person wrote. */
const queryBytesMax = 256 * 1024;

/** What does not depend on the query, so that it can be read before one comes. */
export async function readFunctionRules(connection: DuckDBConnection): Promise<FunctionRules> {
  return functionRules(
    await readRows<EngineFunction>(
      connection,
      `SELECT function_name AS name, function_type AS type, stability, macro_definition AS definition FROM duckdb_functions()`,
    ),
  );
}

export async function inspect(
  connection: DuckDBConnection,
  rules: FunctionRules,
  { query }: Operations['inspect']['args'],
): Promise<Operations['inspect']['answer']> {
  const facts = guardQuery(await parseQuery(connection, query), rules);
  const [spelling] = await readRows<{ canonical: string; engine: string }>(
    connection,
    `SELECT json_deserialize_sql(json_serialize_sql(${asText(query)})) AS canonical, version() AS engine`,
  );
  return { ...facts, canonical: spelling?.canonical ?? query, engine: `duckdb ${spelling?.engine ?? ''}` };
}

/** The parse tree as DuckDB's JSON; numbers keep their spelling, so that the tree can be given back to DuckDB. */
export async function parseQuery(connection: DuckDBConnection, query: string): Promise<unknown> {
  if (Buffer.byteLength(query) > queryBytesMax) {
    throw refusal(`The query is larger than ${queryBytesMax} bytes. Put the data into a table and join it.`);
  }
  if (query.includes('\0')) throw refusal('The query contains a NUL character. Remove it.');
  const [row] = await readRows<{ tree: string }>(connection, `SELECT json_serialize_sql(${asText(query)}) AS tree`);
  const tree = parseExactly(row?.tree ?? '{}') as { error?: boolean; error_type?: string; error_message?: string };
  if (tree.error !== true) return tree;
  const onlySelect = tree.error_type === 'not implemented';
  throw refusal(
    onlySelect
      ? 'Only SELECT is accepted: the lake changes by appending to it, and a query can not do anything else.'
      : `The query can not be parsed: ${tree.error_message ?? 'syntax error'}.`,
  );
}

function asText(query: string): string {
  return `'${query.replaceAll("'", "''")}'::VARCHAR`;
}

function parseExactly(text: string): unknown {
  try {
    return JSON.parse(text, keepNumber);
  } catch (error) {
    throw refusal(`The query contains a number that is out of range. ${error instanceof Error ? error.message : ''}`);
  }
}

/** JavaScript would turn 1.0 into 1 and round what is beyond 2^53, and DuckDB refuses to read both back. */
function keepNumber(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || context?.source === undefined) return value;
  return rawJson(context.source);
}

const rawJson = (JSON as unknown as { rawJSON: (this: void, text: string) => unknown }).rawJSON;
