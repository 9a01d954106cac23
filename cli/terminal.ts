// Where a command writes: results to `write`, what is said about the work to `note`. A closed pipe ends the program quietly.
import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

export interface Terminal {
  /** A result, for people or for the next program in the pipe. */
  write: (text: string) => void;
  /** One line about the work, never part of the result. */
  note: (line: string) => void;
  /** Whether results go to a person's terminal. */
  isTerminal: boolean;
  /** Width in characters. */
  columns: number;
  /** Colours a result where the terminal shows colours and NO_COLOR is not set. */
  paint: (style: Style, text: string) => string;
  /** The same for what goes to `note`. */
  paintNote: (style: Style, text: string) => string;
  /** Where notes can be drawn over; null when they go to a file or a pipe. */
  screen: Screen | null;
}

export interface Screen {
  columns: number;
  rows: number;
  write: (text: string) => void;
}

export function createTerminal(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Terminal {
  for (const stream of [stdout, stderr]) stream.on('error', endWhenClosed);
  return {
    write: (text) => void stdout.write(stdout.isTTY === true ? harmless(text) : text),
    note: (line) => void stderr.write(`${harmless(line)}\n`),
    isTerminal: stdout.isTTY === true,
    get columns() {
      return stdout.columns || 80;
    },
    paint: (style, text) => styleText(style, text, { stream: stdout }),
    paintNote: (style, text) => styleText(style, text, { stream: stderr }),
    screen: stderr.isTTY === true ? createScreen(stderr) : null,
  };
}

const escape = '\u001b';
const csi = `(?:${escape}\\[|\u009b)`;
/** Commands that end with a terminator, those that end with a letter, and whatever else begins with an escape. */
const sequence = new RegExp(
  [
    `${escape}[\\]PX^_][^\u0007${escape}]*(?:\u0007|${escape}\\\\)?`,
    `${csi}[0-?]*[ -/]*[@-~]`,
    `${escape}[ -/]*[0-~]?`,
  ].join('|'),
  'g',
);
const colour = new RegExp(`^${escape}\\[[\\d;:]*m$`);

/** What others wrote passes through here: colours stay, nothing else commands the terminal. */
export function harmless(text: string): string {
  return text
    .replaceAll(sequence, (found) => (colour.test(found) ? found : ''))
    .replaceAll(/\p{Cc}/gu, (control) => (`\t\n\r${escape}`.includes(control) ? control : ''));
}

function createScreen(stream: NodeJS.WriteStream): Screen {
  return {
    get columns() {
      return stream.columns || 80;
    },
    get rows() {
      return stream.rows || 24;
    },
    write: (text) => void stream.write(text),
  };
}

/** The reader of a pipe may stop reading (`assay ls | head -1`); that is not a failure. */
function endWhenClosed(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
}
