// What every command is given. Built once in main.ts; tests build their own.
import type { Environment } from './settings.ts';
import type { Terminal } from './terminal.ts';

export interface Context {
  /** The folder the command was called in. */
  cwd: string;
  env: Environment;
  terminal: Terminal;
  stdin: NodeJS.ReadStream;
}

/** Every command that shows something takes --json and then answers with the API's own JSON. */
export interface JsonOption {
  json?: boolean;
}
