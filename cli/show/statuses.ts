// How states look: one mark and one colour each, the same in every table.
import type { GateResult, RunStatus, StepStatus } from '#core/run.ts';
import type { Styled } from '#cli/output.ts';
import type { Style } from '#cli/terminal.ts';

interface Look {
  mark: string;
  style: Style;
}

const looks: Record<RunStatus | StepStatus, Look> = {
  queued: { mark: '○', style: 'dim' },
  pending: { mark: '○', style: 'dim' },
  waiting: { mark: '◌', style: 'yellow' },
  running: { mark: '●', style: 'cyan' },
  'needs-attention': { mark: '!', style: 'magenta' },
  succeeded: { mark: '✓', style: 'green' },
  reused: { mark: '✓', style: 'green' },
  failed: { mark: '✗', style: 'red' },
  skipped: { mark: '-', style: 'dim' },
  cancelled: { mark: '⊘', style: 'yellow' },
};

export function lookOf(status: RunStatus | StepStatus): Look {
  return looks[status];
}

export function styledStatus(status: RunStatus | StepStatus): Styled {
  return { text: status, style: looks[status].style };
}

export function styledGate(result: GateResult | null): Styled {
  const style: Style = result === 'passed' ? 'green' : result === 'failed' ? 'red' : 'dim';
  return { text: result ?? '', style };
}
