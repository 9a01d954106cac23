// What a step found, in a few words.
import type { Step } from '#contract/runs.ts';
import { oneLine } from '#cli/output.ts';
import { formatDuration, formatSize } from './quantities.ts';

type Facts = Record<string, unknown>;

/** Why it waits, was skipped or failed; else what it found. */
export function describeStep(step: Step): string {
  if (step.failure !== null) return oneLine(step.failure.sentence);
  if (step.reason !== null) return oneLine(step.reason);
  if (step.kind === 'stage' && step.reusedFrom !== null) return `reused from ${step.reusedFrom}`;
  if (step.facts === null) return '';
  const describe = step.kind === 'stage' ? describeStage : platformSteps[step.name];
  return oneLine((describe ?? describeFacts)(step.facts));
}

/** Any facts: names with short values. */
function describeFacts(facts: Facts): string {
  return Object.entries(facts)
    .filter((entry): entry is [string, string | number | boolean] => isShort(entry[1]))
    .slice(0, factsMax)
    .map(([name, value]) => `${spaced(name)} ${shortened(value)}`)
    .join(', ');
}

/** Hit or built, and from what. */
export function describeEnvironment(facts: Facts): string {
  const { environment, builtMs, python, file, lock } = facts;
  const built = environment === 'hit' ? 'hit' : `built in ${formatDuration(Number(builtMs))}`;
  return `${built}; Python ${textOf(python)}, ${textOf(file) || 'no requirement file'}, lock ${textOf(lock)}`;
}

const factsMax = 4;
const digestShown = 12;

const platformSteps: Record<string, (facts: Facts) => string> = {
  'resolve-commit': ({ commit, branch, origin }) =>
    [textOf(commit).slice(0, digestShown), textOf(branch), origin === 'assay.yaml' ? '' : textOf(origin)]
      .filter(Boolean)
      .join(' '),
  'build-environment': describeEnvironment,
  'load-data': (facts) =>
    Object.entries(facts)
      .map(([name, found]) => `${name}: ${describeDatum(found as Facts)}`)
      .join(', '),
  persist: ({ artifacts }) => counted(artifacts, 'artifact'),
  verdict: ({ verdict, grade, sentence }) => `${textOf(verdict)} (${textOf(grade)}): ${textOf(sentence)}`,
  gate: ({ sentence, made }) => [textOf(sentence), textOf(made)].filter(Boolean).join('; '),
};

/** One name under `data:`. */
export function describeDatum({ rows, files, sizeBytes }: Facts): string {
  const amount = typeof rows === 'number' ? counted(rows, 'row') : counted(files, 'file');
  return typeof sizeBytes === 'number' ? `${amount}, ${formatSize(sizeBytes)}` : amount;
}

function describeStage({ outputs, metrics, leftoverProcesses, logDroppedBytes, determinism, notes }: Facts): string {
  return [
    counted(outputs, 'file'),
    counted(metrics, 'metric'),
    Number(leftoverProcesses) > 0 ? `${counted(leftoverProcesses, 'process', 'processes')} left behind` : '',
    Number(logDroppedBytes) > 0 ? `${formatSize(Number(logDroppedBytes))} of output not kept` : '',
    // Where it did not hold, the notes say why.
    (determinism as Facts | undefined)?.held === true ? 'deterministic' : '',
    ...(Array.isArray(notes) ? notes.map(textOf) : []),
  ]
    .filter(Boolean)
    .join(', ');
}

function counted(value: unknown, one: string, many = `${one}s`): string {
  const count = typeof value === 'number' ? value : 0;
  return `${count} ${count === 1 ? one : many}`;
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

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
