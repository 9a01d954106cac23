import { Readable } from 'node:stream';
import { CommanderError } from 'commander';
import { endedBy } from '#cli/errors.ts';
import { createProgram } from '#cli/program.ts';
import { createRecordingTerminal } from './terminals.ts';

export interface CallOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** What is piped in. */
  input?: string;
  isTerminal?: boolean;
}

export interface CallResult {
  code: number;
  out: string;
  notes: string;
}

/** Runs the CLI in this process, as main.ts does, and answers with everything a caller could observe. */
export async function callCli(words: readonly string[], options: CallOptions = {}): Promise<CallResult> {
  const terminal = createRecordingTerminal({ isTerminal: options.isTerminal ?? false, columns: 100 });
  const stdin = Readable.from([Buffer.from(options.input ?? '')]) as unknown as NodeJS.ReadStream;
  const program = createProgram({
    cwd: options.cwd ?? '/',
    env: { PATH: process.env.PATH, ...options.env },
    terminal,
    stdin,
    asJson: words.includes('--json'),
  });
  process.exitCode = undefined;
  const code = await program.parseAsync(words, { from: 'user' }).then(
    () => Number(process.exitCode ?? 0),
    (error: unknown) =>
      error instanceof CommanderError ? error.exitCode : endedBy(error, terminal, words.includes('--json')),
  );
  process.exitCode = undefined;
  return { code, out: terminal.written.join(''), notes: terminal.notes.join('\n') };
}
