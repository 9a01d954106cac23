// What every command is given. Built once in main.ts; tests build their own.
import type { Environment } from './settings.ts';
import type { Terminal } from './terminal.ts';

export interface Context {
  /** The folder the command was called in. */
  cwd: string;
  env: Environment;
  terminal: Terminal;
  stdin: NodeJS.ReadStream;
  /** Whether the caller is a program that reads JSON; nothing is said then that was not asked for. */
  asJson: boolean;
}

/** Every command that shows something takes --json and then answers with the API's own JSON. */
export interface JsonOption {
  json?: boolean;
}
