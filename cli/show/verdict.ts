// What the comparison of a reproduction with its original came to.
import type { RunVerdict, Verdict } from '#contract/verdicts.ts';
import { type Cell, formatTable, oneLine, type Styled } from '#cli/output.ts';
import type { Style, Terminal } from '#cli/terminal.ts';

type Layer = Verdict['report']['layers'][number];

const styles: Record<RunVerdict['verdict'], Style> = {
  identical: 'green',
  equivalent: 'green',
  different: 'red',
  'not-reproducible': 'magenta',
};

export function styleOf(verdict: RunVerdict['verdict']): Style {
  return styles[verdict];
}

/** In one line, on the page of either run. */
export function styledVerdict({ verdict, grade, sentence, as, other }: RunVerdict): Styled {
  const how = as === 'reproduction' ? `compared with ${other}` : `reproduced by ${other}`;
  return { text: `${verdict} (${grade}), ${how}: ${sentence}`, style: styles[verdict] };
}

const columns = [{ title: 'layer' }, { title: 'result' }, { title: 'details', flexible: true }];

/** The verdict, then layer by layer; what differs has its lines below. In a pipe the first line has the words alone. */
export function formatVerdict(terminal: Terminal, { run, original, report }: Verdict): string {
  const { verdict, grade, sentence, firstDifference, layers, notes } = report;
  const head = terminal.isTerminal
    ? `${terminal.paint('bold', run)} reproduces ${original}: ${terminal.paint(styles[verdict], verdict)} (${grade})\n`
    : `${run}\t${original}\t${verdict}\t${grade}\t${firstDifference ?? ''}\n`;
  const shown = layers.filter(({ result }) => result !== 'absent');
  const table = shown.length === 0 ? '' : `\n${formatTable(terminal, columns, shown.map(layerRow))}`;
  const told = shown.filter(({ differences }) => differences.length > 0);
  return [
    head,
    `${oneLine(sentence)}\n`,
    table,
    ...told.map((layer) => `\n${terminal.paint('bold', layer.layer)}\n${lines(layer.differences)}`),
    notes.length === 0 ? '' : `\n${lines(notes)}`,
  ].join('');
}

const resultStyles: Partial<Record<Layer['result'], Style>> = {
  equal: 'green',
  'within-tolerance': 'green',
  different: 'red',
};

function layerRow({ layer, result, sentence }: Layer): Cell[] {
  return [layer, { text: result, style: resultStyles[result] ?? 'dim' }, sentence];
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `  ${oneLine(text)}\n`).join('');
}
