// How a run goes, step by step: drawn in place on a screen, one line per change elsewhere.
import { isFinished, isStepClosed, type RunStatus } from '#core/run.ts';
import type { RunSummary, Step } from '#contract/runs.ts';
import type { RunEvent } from '#sdk/watch.ts';
import { oneLine } from '#cli/output.ts';
import { formatDuration } from './quantities.ts';
import { lookOf } from './statuses.ts';
import { describeStep } from './step-facts.ts';
import type { Screen, Terminal } from '#cli/terminal.ts';

export interface Progress {
  show(event: RunEvent): void;
  /** Leaves the last picture on the screen. */
  end(): void;
}

interface Picture {
  run: RunSummary | null;
  steps: Map<string, Step>;
}

type Paint = Terminal['paintNote'];

export function createProgress(terminal: Terminal): Progress {
  return terminal.screen === null ? createLines(terminal) : createDrawing(terminal.screen, terminal.paintNote);
}

const redrawMs = 200;

function createDrawing(screen: Screen, paint: Paint): Progress {
  const picture: Picture = { run: null, steps: new Map() };
  let linesDrawn = 0;
  const draw = () => {
    const lines = drawProgress(picture, screen, paint, Date.now());
    const up = linesDrawn > 0 ? `\u001b[${linesDrawn}A\r` : '';
    screen.write(`${up}\u001b[J${lines.map((line) => `${line}\n`).join('')}`);
    linesDrawn = lines.length;
  };
  const timer = setInterval(draw, redrawMs);
  return {
    show: (event) => {
      remember(picture, event);
      draw();
    },
    end: () => {
      clearInterval(timer);
      draw();
    },
  };
}

/** As many lines as fit: when there are too many steps, those that ended first give way. */
export function drawProgress(
  { run, steps }: Picture,
  screen: { columns: number; rows: number },
  paint: Paint,
  nowMs: number,
): string[] {
  if (run === null) return [];
  const ordered = [...steps.values()].toSorted((a, b) => a.position - b.position);
  const roomFor = Math.max(3, screen.rows - 3);
  const overflow = Math.max(0, ordered.length - roomFor);
  const closedFirst = ordered.filter((step) => isStepClosed(step.status)).slice(0, overflow);
  const shown = ordered.filter((step) => !closedFirst.includes(step)).slice(0, roomFor);
  const nameWidth = Math.max(0, ...ordered.map((step) => step.name.length));
  const reason = run.waitingReason === null ? '' : `: ${oneLine(run.waitingReason)}`;
  const head = `${paint('bold', run.label)}  ${paint(lookOf(run.status).style, run.status)}${reason}`;
  return [head, ...shown.map((step) => drawStep({ step, run }, nameWidth, screen.columns, paint, nowMs))];
}

const timeWidth = 12;

function drawStep(
  { step, run }: { step: Step; run: RunSummary },
  nameWidth: number,
  columns: number,
  paint: Paint,
  nowMs: number,
): string {
  const { mark, style } = lookOf(step.status);
  const ms = timeOf(step, nowMs);
  const time = (ms === null ? '' : formatDuration(ms)).padStart(timeWidth);
  const room = Math.max(0, columns - nameWidth - timeWidth - 7);
  return `  ${paint(style, mark)} ${step.name.padEnd(nameWidth)}${time}  ${paint('dim', describeProgress(step, run).slice(0, room))}`.trimEnd();
}

/** Whoever is surprised by a reused step learns how to run it; what the run itself made before is no surprise. */
function describeProgress(step: Step, run: RunSummary | null): string {
  const isSurprise = step.kind === 'stage' && step.reusedFrom !== null && step.reusedFrom !== run?.label;
  return `${describeStep(step)}${isSurprise ? '; --no-reuse runs it again' : ''}`;
}

function timeOf(step: Step, nowMs: number): number | null {
  if (step.startedAt === null) return null;
  const end = step.finishedAt === null ? nowMs : Date.parse(step.finishedAt);
  return Math.max(0, end - Date.parse(step.startedAt));
}

function createLines(terminal: Terminal): Progress {
  const picture: Picture = { run: null, steps: new Map() };
  return {
    show: (event) => {
      const line = lineOf(picture, event);
      remember(picture, event);
      if (line !== null) terminal.note(line);
    },
    end: () => undefined,
  };
}

/** Null when nothing changed that a reader of a log wants to know. */
function lineOf(picture: Picture, event: RunEvent): string | null {
  if (event.kind === 'run') {
    const { status, waitingReason, label } = event.run;
    const same = picture.run?.status === status && picture.run.waitingReason === waitingReason;
    if (same || isToldOtherwise(status)) return null;
    return `${label}: ${status}${waitingReason === null ? '' : ` (${oneLine(waitingReason)})`}`;
  }
  const { step } = event;
  if (step.status === 'pending' || picture.steps.get(step.name)?.status === step.status) return null;
  if (step.kind === 'stage' && step.reusedFrom !== null)
    return `  ${step.name}: ${describeProgress(step, picture.run)}`;
  const time = step.durationMs === null || !isStepClosed(step.status) ? '' : ` ${formatDuration(step.durationMs)}`;
  const details = describeStep(step);
  return `  ${step.name}: ${step.status}${time}${details === '' ? '' : ` (${details})`}`;
}

/** The end is told with the result, and running and waiting by the lines of the steps. */
function isToldOtherwise(status: RunStatus): boolean {
  return isFinished(status) || status === 'running' || status === 'waiting';
}

function remember(picture: Picture, event: RunEvent): void {
  if (event.kind === 'run') picture.run = event.run;
  else picture.steps.set(event.step.name, event.step);
}
