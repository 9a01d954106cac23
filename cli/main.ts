// The program `assay`: a client of the HTTP API that knows nothing of databases, workflows or files of the server.
import { CommanderError } from 'commander';
import { endedBy } from './errors.ts';
import { createProgram } from './program.ts';
import { createTerminal } from './terminal.ts';

const terminal = createTerminal(process.stdout, process.stderr);
const asJson = asksForJson();
const program = createProgram({ cwd: process.cwd(), env: process.env, terminal, stdin: process.stdin, asJson });

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = error instanceof CommanderError ? error.exitCode : endedBy(error, terminal, asJson);
}

/** Read from the words themselves, because a command may fail before its options are known. */
function asksForJson(): boolean {
  const words = process.argv.slice(2);
  const end = words.indexOf('--');
  return (end < 0 ? words : words.slice(0, end)).includes('--json');
}
