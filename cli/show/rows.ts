// Rows of the lake as a table.
import { type Cell, formatTable } from '#cli/output.ts';
import type { Terminal } from '#cli/terminal.ts';

type Row = Record<string, unknown>;

/** In a pipe the first line names the columns, as in a TSV file. */
export function formatRows(terminal: Terminal, columns: readonly { name: string }[], rows: readonly Row[]): string {
  const titles = columns.map(({ name }) => ({ title: name }));
  const cells = rows.map((row) => columns.map(({ name }): Cell => textOf(row[name])));
  const header = terminal.isTerminal ? '' : `${columns.map(({ name }) => name).join('\t')}\n`;
  return header + formatTable(terminal, titles, cells);
}

/** The first rows of a JSONL answer; the rest is not fetched. */
export async function readRows(body: ReadableStream<Uint8Array> | null, rowsMax: number): Promise<Row[]> {
  const rows: Row[] = [];
  if (body === null || rowsMax === 0) return rows;
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      rows.push(JSON.parse(line) as Row);
      if (rows.length === rowsMax) return rows;
    }
  }
  return rest.trim() === '' ? rows : [...rows, JSON.parse(rest) as Row];
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
