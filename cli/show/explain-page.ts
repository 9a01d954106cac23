// Why steps ran or were reused, and what their keys are made of.
import type { RunExplanation, StepExplanation } from '#contract/explain.ts';
import { formatFields, formatTable, oneLine } from '#cli/output.ts';
import type { Terminal } from '#cli/terminal.ts';
import { lookOf } from './statuses.ts';

/** In a pipe one line per step: name, status, key, sentence. `whole` adds every ingredient of each. */
export function formatExplanation(
  terminal: Terminal,
  { steps }: RunExplanation,
  { whole }: { whole: boolean },
): string {
  if (!whole && !terminal.isTerminal) {
    return formatTable(
      terminal,
      [],
      steps.map(({ step, status, stepKey, sentence }) => [step, status, stepKey ?? '', sentence]),
    );
  }
  return steps.map((step) => formatStep(terminal, step, whole)).join(terminal.isTerminal ? '\n' : '');
}

function formatStep(terminal: Terminal, step: StepExplanation, whole: boolean): string {
  const { mark, style } = lookOf(step.status);
  const head = terminal.isTerminal
    ? `${terminal.paint(style, mark)} ${terminal.paint('bold', step.step)}: ${oneLine(step.sentence)}\n`
    : `step\t${step.step}\t${step.status}\t${oneLine(step.sentence)}\n`;
  const ingredients = step.ingredients.flatMap(({ part, lines }) =>
    lines.map((line, index): [string, string] => [index === 0 || !terminal.isTerminal ? part : '', line]),
  );
  const key: [string, string] = ['key', step.stepKey ?? 'not known yet'];
  const shown = whole ? [key, ...ingredients] : [];
  const files = (step.files ?? []).map((path): [string, string] => ['file', path]);
  return head + indented(terminal, formatFields(terminal, [...shown, ...files])) + formatDifferences(terminal, step);
}

function formatDifferences(terminal: Terminal, { comparedWith, differences }: StepExplanation): string {
  if (comparedWith === null) return '';
  if (!terminal.isTerminal)
    return (differences ?? []).map(({ text }) => `differs\t${comparedWith}\t${oneLine(text)}\n`).join('');
  if (differences === null) return indented(terminal, `${comparedWith} has no key for this step.\n`);
  if (differences.length === 0) return indented(terminal, `The key is that of ${comparedWith}.\n`);
  const lines = differences.map(({ text }) => `  ${terminal.paint('yellow', oneLine(text))}\n`);
  return indented(terminal, `Against ${comparedWith}:\n${lines.join('')}`);
}

function indented(terminal: Terminal, text: string): string {
  return terminal.isTerminal ? text.replaceAll(/^(?=.)/gm, '  ') : text;
}
