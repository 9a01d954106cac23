// What the Temporal UI shows of a run: search attributes, and current details in markdown.
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { RunStatus } from '#core/run.ts';

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
const statusKey = keyword('AssayStatus');
const commitKey = keyword('AssayCommit');
const modelKey = keyword('AssayModel');
const gateKey = keyword('AssayGate');

export interface Story {
  /** Adds or replaces a line of the details; markdown. */
  tell(
    topic: 'Run' | 'Commit' | 'Environment' | 'Data' | 'Stages' | 'Result' | 'Verdict' | 'Attention',
    line: string | null,
  ): void;
  status(status: RunStatus): void;
  commit(sha: string): void;
  model(name: string): void;
  gate(result: string): void;
}

export function createStory(): Story {
  const lines = new Map<string, string>();
  const show = () => setCurrentDetails([...lines].map(([topic, line]) => `**${topic}:** ${line}`).join('\n\n'));
  return {
    tell(topic, line) {
      if (line === null) lines.delete(topic);
      else lines.set(topic, line);
      show();
    },
    status: (value) => upsertSearchAttributes([{ key: statusKey, value }]),
    commit: (value) => upsertSearchAttributes([{ key: commitKey, value }]),
    model: (value) => upsertSearchAttributes([{ key: modelKey, value }]),
    gate: (value) => upsertSearchAttributes([{ key: gateKey, value }]),
  };
}
