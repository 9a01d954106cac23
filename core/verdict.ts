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
