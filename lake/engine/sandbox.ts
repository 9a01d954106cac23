// Runs inside the query process: a DuckDB that reads the files it was given, writes below one directory and nothing else.
import { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { SandboxLimits } from './operations.ts';

/** Made while nobody waits; the first sandbox takes it. */
let spare: Promise<DuckDBConnection> | undefined;

export function prepareSandbox(): void {
  spare = connectUnlocked();
}

async function connectUnlocked(): Promise<DuckDBConnection> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
  });
  const connection = await instance.connect();
  await connection.run(`SET TimeZone = 'UTC'`);
  return connection;
}

/**
 * A locked connection. The order matters: views over `files` are created while files can still be named, then external
 * access ends except for exactly these files and the directory, then the configuration is locked.
 */
export async function openSandbox(
  limits: SandboxLimits,
  files: readonly string[],
  prepare: (connection: DuckDBConnection) => Promise<void> = () => Promise.resolve(),
): Promise<DuckDBConnection> {
  const prepared = spare;
  spare = undefined;
  const connection = await (prepared ?? connectUnlocked());
  await connection.run(`
    SET threads = ${limits.threads};
    SET memory_limit = '${limits.memoryMib}MiB';
    SET temp_directory = ${quoteText(`${limits.directory}/spill`)};
    SET max_temp_directory_size = '${limits.directoryBytesMax}B'`);
  await prepare(connection);
  await connection.run(`
    SET allowed_paths = ${textList(files)};
    SET allowed_directories = ${textList([limits.directory])};
    SET enable_external_access = false;
    SET lock_configuration = true`);
  return connection;
}

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function textList(texts: readonly string[]): string {
  return `[${texts.map(quoteText).join(', ')}]`;
}

/** Rows as JSON values: numbers where JSON has them, text for the others. */
export async function readRows<Row>(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  const reader = await connection.runAndReadAll(sql);
  return reader.getRowObjectsJson() as Row[];
}

export async function describe(
  connection: DuckDBConnection,
  relation: string,
): Promise<Array<{ name: string; type: string }>> {
  const rows = await readRows<{ column_name: string; column_type: string }>(
    connection,
    `DESCRIBE SELECT * FROM ${relation}`,
  );
  return rows.map((row) => ({ name: row.column_name, type: row.column_type }));
}
