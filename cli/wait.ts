// Staying with a run until it ends. Leaving (Ctrl-C) never stops the run.
import type { Run } from '#contract/runs.ts';
import type { Client } from '#sdk/client.ts';
import type { Context, JsonOption } from './context.ts';
import { type ExitCode, exitCodes } from './errors.ts';
import { formatJson } from './output.ts';
import { createProgress } from '#cli/show/progress.ts';
import { formatFailure, formatOutcome } from '#cli/show/run-outcome.ts';
import type { Terminal } from './terminal.ts';

/** Shows the progress, then the outcome; answers with the exit code that says how it went. */
export async function waitForRun(
  context: Context,
  client: Client,
  run: string,
  options: JsonOption,
): Promise<ExitCode> {
  const ended = await followRun(context, client, run);
  if (ended === null) return exitCodes.interrupted;
  tellOutcome(context.terminal, ended, options);
  return exitCodeOf(ended);
}

/** Shows the progress until the end; answers the run as it ended, or null when the person left, which is said. */
export async function followRun(context: Context, client: Client, run: string): Promise<Run | null> {
  const leave = new AbortController();
  const onInterrupt = () => leave.abort();
  process.once('SIGINT', onInterrupt);
  const progress = createProgress(context.terminal);
  try {
    for await (const event of client.runs.watch(run, { signal: leave.signal, reconnectsMax: 60 })) progress.show(event);
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  } finally {
    process.removeListener('SIGINT', onInterrupt);
    progress.end();
  }
  if (!leave.signal.aborted) return await client.runs.get(run);
  sayDetached(context, run);
  return null;
}

/** A pipe gets one line; why a run failed is then said beside it, for the log of a CI job. */
export function tellOutcome(terminal: Terminal, run: Run, options: JsonOption): void {
  if (!terminal.isTerminal && run.failure !== null && run.failure.logTail.length > 0) {
    terminal.note(formatFailure(terminal, run).trimEnd());
  }
  terminal.write(options.json ? formatJson(run) : formatOutcome(terminal, run));
}

function sayDetached({ terminal }: Context, run: string): void {
  terminal.note(`Detached; ${run} goes on. Look: assay logs -f ${run}   Stop it: assay cancel ${run}`);
}

export function exitCodeOf(run: Pick<Run, 'status' | 'gateResult'>): ExitCode {
  if (run.status === 'cancelled') return exitCodes.cancelled;
  return run.status === 'succeeded' && run.gateResult !== 'failed' ? exitCodes.ok : exitCodes.failed;
}
