// What a resume would do, one line per step.
import type { ResumePlan } from '#contract/resume.ts';
import { oneLine } from '#cli/output.ts';
import type { Terminal } from '#cli/terminal.ts';

export function formatPlan(terminal: Terminal, { steps }: ResumePlan): string {
  const lines = steps.map(({ name, action, sentence }) => {
    const line = `${name}: ${oneLine(sentence)}`;
    return action === 'reuse' ? terminal.paint('dim', line) : line;
  });
  return `${lines.join('\n')}\n`;
}
