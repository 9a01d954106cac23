// File formats of rows, by their ending.
import { CliError } from '#cli/errors.ts';

export const formats = ['csv', 'jsonl', 'parquet'] as const;
export type Format = (typeof formats)[number];

/** @throws CliError when the ending says nothing. */
export function formatOf(file: string): Format {
  const ending = /\.([a-z]+)$/i.exec(file)?.[1]?.toLowerCase() ?? '';
  const format = formats.find((known) => known === ending) ?? (ending === 'ndjson' ? 'jsonl' : undefined);
  if (format !== undefined) return format;
  throw new CliError(`Found "${file}"; expected a name that ends in .csv, .jsonl or .parquet, or --format.`);
}
