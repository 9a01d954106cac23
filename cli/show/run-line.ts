// The one line that says what a command did to a run.
import type { RunSummary } from '#contract/runs.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';

/** In a pipe: the label, a tab, the status. */
export function reportRun({ terminal }: Context, run: RunSummary, options: JsonOption, what: string): void {
  if (options.json) return terminal.write(formatJson(run));
  const line = terminal.isTerminal ? `${terminal.paint('bold', run.label)} ${what}` : `${run.label}\t${run.status}`;
  terminal.write(`${line}\n`);
}
