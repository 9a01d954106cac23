// What a reproduction is compared by, layer by layer, and what the comparison comes to.

/** `not-reproducible`: an input is gone. `equivalent`: within the tolerances, and the gate decides the same. */
export const verdictWords = ['identical', 'equivalent', 'different', 'not-reproducible'] as const;
export type Verdict = (typeof verdictWords)[number];

/**
 * G0 inputs are not available; G1 it completes from the same inputs; G2 its metrics are within tolerance; G3 it makes
 * the same predictions; G4 its model has the same bytes.
 */
export const grades = ['G0', 'G1', 'G2', 'G3', 'G4'] as const;
export type Grade = (typeof grades)[number];

/** In the order of cause and effect: the first that differs is the one to look at. */
export const layers = [
  'outcome',
  'code',
  'parameters',
  'seed',
  'data',
  'lock',
  'image',
  'hardware',
  'metrics',
  'gate',
  'predictions',
  'model',
] as const;
export type Layer = (typeof layers)[number];

export interface LayerReport {
  layer: Layer;
  /** `listed` is shown and not judged; `absent` means that neither run has it. */
  result: 'equal' | 'within-tolerance' | 'different' | 'listed' | 'absent';
  /** One plain sentence. */
  sentence: string;
  /** What differs, one readable line each; at most 50. */
  differences: string[];
}

export interface VerdictReport {
  verdict: Verdict;
  grade: Grade;
  /** One plain sentence: the verdict and why. */
  sentence: string;
  firstDifference: Layer | null;
  layers: LayerReport[];
  /** What was left out of the comparison, and why. */
  notes: string[];
}

/** What the layers alone do not say. */
export interface VerdictFacts {
  /** An input could not be had again, in one plain sentence; null when all were there. */
  missingInput: string | null;
  /** What counts as the model, for the sentence: `the model digits`, `the files of the stage evaluate`. */
  modelName: string;
}

/** These decide whether it was a reproduction at all: with other inputs, equal results prove nothing. */
const inputs: readonly Layer[] = ['code', 'parameters', 'seed', 'data'];
const shown = { identical: 'Identical', equivalent: 'Equivalent', different: 'Different' } as const;

/** `reports` are in the order of `layers`, one each. */
export function decideVerdict(
  reports: readonly LayerReport[],
  facts: VerdictFacts,
): Pick<VerdictReport, 'verdict' | 'grade' | 'sentence' | 'firstDifference'> {
  const first = reports.find(differs)?.layer ?? null;
  const isDifferent = (layer: Layer) => resultOf(reports, layer) === 'different';
  if (isDifferent('outcome') && facts.missingInput !== null) {
    const sentence = `Not reproducible (G0): ${facts.missingInput}`;
    return { verdict: 'not-reproducible', grade: 'G0', sentence, firstDifference: first };
  }
  const grade = gradeOf(reports);
  const drifted = reports.some((report) => report.result === 'different' && ['lock', 'image'].includes(report.layer));
  const verdict =
    grade === 'G4' && !drifted && !isDifferent('gate')
      ? 'identical'
      : (grade >= 'G2' || leftNothing(reports)) && !isDifferent('gate')
        ? 'equivalent'
        : 'different';
  const sentence = `${shown[verdict]} (${grade}): ${reasonOf(verdict, reports, facts)}`;
  return { verdict, grade, sentence, firstDifference: verdict === 'identical' ? null : first };
}

/** Each grade holds what the grades below it ask for. */
function gradeOf(reports: readonly LayerReport[]): Grade {
  const result = (layer: Layer) => resultOf(reports, layer);
  const holds = (layer: Layer) => ['equal', 'listed', 'absent'].includes(result(layer));
  if (result('outcome') === 'different' || inputs.some((layer) => result(layer) === 'different')) return 'G0';
  if (result('metrics') === 'different' || leftNothing(reports)) return 'G1';
  if (holds('model') && holds('predictions') && holds('metrics')) return 'G4';
  if (result('predictions') === 'equal') return 'G3';
  return result('metrics') === 'equal' || result('metrics') === 'within-tolerance' ? 'G2' : 'G1';
}

/** No file, no number and no prediction that could be judged. */
function leftNothing(reports: readonly LayerReport[]): boolean {
  return (['metrics', 'predictions', 'model'] as const).every((layer) =>
    ['absent', 'listed'].includes(resultOf(reports, layer)),
  );
}

function reasonOf(
  verdict: 'identical' | 'equivalent' | 'different',
  reports: readonly LayerReport[],
  facts: VerdictFacts,
): string {
  const told = (layer: Layer) => reports.find((report) => report.layer === layer)?.sentence ?? '';
  const first = reports.find(differs);
  if (verdict === 'different') return whyDifferent(reports, first, told);
  if (leftNothing(reports)) return 'it completed from the same inputs and left nothing that could be compared.';
  const made = (['predictions', 'model'] as const).filter((layer) => resultOf(reports, layer) === 'equal');
  const results = (resultOf(reports, 'metrics') === 'absent' ? made : ['metrics' as const, ...made]).map(told);
  if (verdict === 'identical') {
    const none = ['absent', 'listed'].includes(resultOf(reports, 'model'))
      ? [`No file of ${facts.modelName} was left to be judged.`]
      : [];
    return lowerFirst([...results.toReversed(), ...none].join(' '));
  }
  const rest = first === undefined || first.layer === 'metrics' ? [] : [`The first difference is in ${nameOf(first)}`];
  const gate = resultOf(reports, 'gate') === 'equal' ? ['The gate decides the same.'] : [];
  return lowerFirst(
    [...results, ...gate, ...rest.map((text) => `${text}: ${lowerFirst(first?.sentence ?? '')}`)].join(' '),
  );
}

function whyDifferent(
  reports: readonly LayerReport[],
  first: LayerReport | undefined,
  told: (layer: Layer) => string,
): string {
  const head =
    first === undefined ? '' : `the first layer that differs is ${nameOf(first)}: ${lowerFirst(first.sentence)}`;
  const result = reports.find(
    ({ layer, result: found }) => ['metrics', 'gate', 'predictions', 'model'].includes(layer) && found === 'different',
  );
  return result === undefined || result.layer === first?.layer ? head : `${head} ${told(result.layer)}`;
}

/** Hardware is never judged, and yet the likely cause of what differs after it. */
function differs({ layer, result }: LayerReport): boolean {
  return result === 'different' || result === 'within-tolerance' || (layer === 'hardware' && result === 'listed');
}

function resultOf(reports: readonly LayerReport[], layer: Layer): LayerReport['result'] {
  return reports.find((report) => report.layer === layer)?.result ?? 'absent';
}

function nameOf({ layer }: LayerReport): string {
  return layer === 'metrics' || layer === 'predictions' || layer === 'parameters' ? `its ${layer}` : `the ${layer}`;
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z ]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

/** Lines of one layer that are kept. */
const differencesMax = 50;
const lineLengthMax = 300;
export const sentenceLengthMax = 1500;

/**
 * What a run wrote, as one line for a terminal and for JSON in Postgres: without control characters, halves of
 * characters and endless texts.
 */
export function readableLine(text: string, lengthMax = lineLengthMax): string {
  const plain = text.toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\u00b7');
  return plain.length > lengthMax ? `${plain.slice(0, lengthMax).toWellFormed()}\u2026` : plain;
}

/** At most 50 readable lines; the last says how many were left out. */
export function readableLines(lines: readonly string[]): string[] {
  const kept = lines.length > differencesMax ? lines.slice(0, differencesMax - 1) : lines;
  const rest = lines.length - kept.length;
  return [...kept.map((line) => readableLine(line)), ...(rest === 0 ? [] : [`and ${rest} more`])];
}
