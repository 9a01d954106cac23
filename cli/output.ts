// Tables and values as people and pipes read them: aligned columns on a terminal, tab-separated lines elsewhere.
import { stripVTControlCharacters } from 'node:util';
import type { Style, Terminal } from './terminal.ts';

export interface Column {
  title: string;
  /** Gives way first when the terminal is too narrow. */
  flexible?: boolean;
  right?: boolean;
}

export interface Styled {
  text: string;
  style: Style;
}

export type Cell = string | Styled;

const gap = '  ';
const narrowest = 8;

/** One line per row. A pipe gets no header, full values and tabs, so that `cut` and `awk` just work. */
export function formatTable(terminal: Terminal, columns: Column[], rows: Cell[][]): string {
  if (!terminal.isTerminal) return rows.map((row) => `${row.map(plainCell).join('\t')}\n`).join('');
  const widths = columnWidths(terminal.columns, columns, rows);
  const header = columns.map(({ title }): Styled => ({ text: title.toUpperCase(), style: 'dim' }));
  return [header, ...rows].map((row) => formatRow(terminal, columns, widths, row)).join('');
}

/** Label and value per line, the values aligned; labels without a value are left out. */
export function formatFields(terminal: Terminal, fields: [string, Cell | null | undefined][]): string {
  const shown = fields.filter((field): field is [string, Cell] => field[1] !== null && field[1] !== undefined);
  const width = Math.max(0, ...shown.map(([label]) => label.length));
  return shown
    .map(([label, cell]) =>
      terminal.isTerminal
        ? `${terminal.paint('dim', label.padEnd(width))}${gap}${painted(terminal, cell, plainCell(cell))}\n`
        : `${label}\t${plainCell(cell)}\n`,
    )
    .join('');
}

export function formatJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Text from elsewhere on one line: no escape sequence reaches the terminal, nothing breaks a table or turns text around. */
export function oneLine(text: string): string {
  return logLine(text).trim();
}

/** The same for a line of a log, whose indentation says something. */
export function logLine(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll('\t', '    ')
    .replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .trimEnd();
}

function plainCell(cell: Cell): string {
  return oneLine(typeof cell === 'string' ? cell : cell.text);
}

function formatRow(terminal: Terminal, columns: Column[], widths: number[], row: Cell[]): string {
  const cells = columns.map((column, index) => {
    const cell = row[index] ?? '';
    const width = widths[index] ?? 0;
    const text = shorten(plainCell(cell), width);
    const isLast = index === columns.length - 1;
    const aligned = column.right ? text.padStart(width) : isLast ? text : text.padEnd(width);
    return painted(terminal, cell, aligned);
  });
  return `${cells.join(gap).trimEnd()}\n`;
}

function painted(terminal: Terminal, cell: Cell, text: string): string {
  return typeof cell === 'string' ? text : terminal.paint(cell.style, text);
}

function columnWidths(available: number, columns: Column[], rows: Cell[][]): number[] {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => plainCell(row[index] ?? '').length)),
  );
  const flexible = columns.findIndex((column) => column.flexible);
  const total = widths.reduce((sum, width) => sum + width, gap.length * (columns.length - 1));
  if (flexible >= 0 && total > available) {
    widths[flexible] = Math.max(narrowest, (widths[flexible] ?? 0) - (total - available));
  }
  return widths;
}

function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
