// How a run ended: its status, why, the gate's rules, the versions it made.
import type { GateReport } from '#core/gate.ts';
import type { Run } from '#contract/runs.ts';
import { type Cell, formatTable, logLine, oneLine } from '#cli/output.ts';
import { formatDuration, formatNumber } from './quantities.ts';
import { styledGate, styledStatus } from './statuses.ts';
import type { Terminal } from '#cli/terminal.ts';

/** In a pipe one line: label, status, gate result. */
export function formatOutcome(terminal: Terminal, run: Run): string {
  if (!terminal.isTerminal) return `${run.label}\t${run.status}\t${run.gateResult ?? ''}\n`;
  return [
    formatHeadline(terminal, run),
    formatFailure(terminal, run),
    formatGate(terminal, run),
    formatVersions(terminal, run),
  ].join('');
}

export function formatHeadline(terminal: Terminal, run: Run): string {
  const status = styledStatus(run.status);
  const gate = styledGate(run.gateResult);
  const time = run.durationMs === null ? '' : ` in ${formatDuration(run.durationMs)}`;
  const gateText = run.gateResult === null ? '' : `, gate ${terminal.paint(gate.style, gate.text)}`;
  const reason = run.waitingReason === null ? '' : `: ${oneLine(run.waitingReason)}`;
  return `${terminal.paint('bold', run.label)} ${terminal.paint(status.style, status.text)}${time}${gateText}${reason}\n`;
}

/** The sentence, and the last lines the stage printed. */
export function formatFailure(terminal: Terminal, { failure, label }: Run): string {
  if (failure === null) return '';
  const place = failure.step === null ? '' : `${failure.step}: `;
  const tail = failure.logTail.map((line) => `  ${terminal.paint('dim', '│')} ${logLine(line)}\n`).join('');
  const more = failure.step === null ? '' : `  assay logs ${label} ${failure.step}\n`;
  return `${terminal.paint('red', `${place}${oneLine(failure.sentence)}`)}\n${tail}${tail === '' ? '' : more}`;
}

const gateColumns = [{ title: 'gate' }, { title: 'result' }, { title: 'value', right: true }, { title: 'why' }];

export function formatGate(terminal: Terminal, run: Run): string {
  const report = run.gateReport as GateReport | null;
  if (report === null || report.rules.length === 0) return '';
  const rows = report.rules.map((rule): Cell[] => [
    rule.rule,
    styledGate(rule.passed ? 'passed' : 'failed'),
    rule.value === null ? '' : formatNumber(rule.value),
    rule.note,
  ]);
  return formatTable(terminal, gateColumns, rows);
}

function formatVersions(terminal: Terminal, run: Run): string {
  return run.versions
    .map(({ model, version, aliases }) => {
      const promoted = aliases.length === 0 ? `assay promote ${model} ${version}` : aliases.join(' ');
      return `model ${terminal.paint('bold', `${model} version ${version}`)}  ${terminal.paint('dim', promoted)}\n`;
    })
    .join('');
}
