// What a step found, in a few words.
import type { Step } from '#contract/runs.ts';
import { oneLine } from './output.ts';

const factsMax = 4;
const digestShown = 12;

/** Why it waits, was skipped or failed; else what it found. */
export function describeStep(step: Step): string {
  if (step.failure !== null) return oneLine(step.failure.sentence);
  if (step.reason !== null) return oneLine(step.reason);
  return describeFacts(step.facts);
}

export function describeFacts(facts: Record<string, unknown> | null): string {
  return Object.entries(facts ?? {})
    .filter((entry): entry is [string, string | number | boolean] => isShort(entry[1]))
    .slice(0, factsMax)
    .map(([name, value]) => `${spaced(name)} ${shortened(value)}`)
    .join(', ');
}

function isShort(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean' || (typeof value === 'string' && value.length <= 80);
}

function spaced(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function shortened(value: string | number | boolean): string {
  const text = oneLine(String(value));
  return /^[0-9a-f]{40,64}$/.test(text) ? text.slice(0, digestShown) : text;
}
