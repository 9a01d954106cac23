// Which types a table's column accepts from a file. Pure rules; whether the values fit is asked of the data.

export type DataFormat = 'csv' | 'jsonl' | 'parquet';

/** `type` is DuckDB's spelling, for example BIGINT or STRUCT(a INTEGER). */
export interface LakeColumn {
  name: string;
  type: string;
}

/**
 * `if-every-value-survives`: cast there and back gives the same value. `never`: only a column without values fits.
 */
export type Comparison = 'fits' | 'if-every-value-survives' | 'never';

const numbers = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\))$/;
const instants = /^(DATE|TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS)$/;
/** What a reader of JSON makes of strings that all look alike. */
const readFromText = /^(DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE|UUID)$/;

/** For formats with types; CSV has none, so its values are asked one by one. */
export function canHold(format: Exclude<DataFormat, 'csv'>, found: string, expected: string): Comparison {
  if (found === expected) return 'fits';
  if (numbers.test(found) && numbers.test(expected)) return 'if-every-value-survives';
  if (instants.test(found) && instants.test(expected)) return 'if-every-value-survives';
  // A reader of JSON has turned text into times: it is read again as text.
  return format === 'jsonl' && expected === 'VARCHAR' && readFromText.test(found) ? 'fits' : 'never';
}

/** What a new column is stored as: enumerations differ from file to file, and JSON is text that is parsed when read. */
export function canonicalType(found: string): string {
  return /^(ENUM\(|JSON$|"?NULL"?$)/.test(found) ? 'VARCHAR' : found;
}
