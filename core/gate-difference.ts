// Whether the gates of two runs decide the same.
import { type GateReport, gateSentence, holds } from './gate.ts';
import { isGateRule, parseGateRule } from './gate-rule.ts';

export interface GateDifference {
  result: 'equal' | 'different' | 'absent';
  sentence: string;
  differences: string[];
  notes: string[];
}

/**
 * A champion that moved between the runs is not the reproduction's doing: a rule that names it is held against the
 * number that the original was held against.
 */
export function compareGates(original: GateReport | null, reproduction: GateReport | null): GateDifference {
  if (noGate(original) && noGate(reproduction)) return answer('absent', 'The project has no gate.');
  if (original === null || reproduction === null) {
    const [judged, other] = original === null ? ['reproduction', 'original'] : ['original', 'reproduction'];
    return answer('different', `The gate judged the ${judged} and not the ${other}.`);
  }
  const notes: string[] = [];
  const differences = original.rules.flatMap((before) => {
    const after = reproduction.rules.find(({ rule }) => rule === before.rule);
    if (after === undefined) return [`${before.rule}: ${passes(before.passed)} → not judged`];
    const passed = heldAgainst(before, after);
    if (passed !== after.passed) {
      notes.push(`The champion moved since; ${before.rule} is held against ${before.threshold}, as in the original.`);
    }
    return passed === before.passed
      ? []
      : [`${before.rule}: ${passes(before.passed)} → ${passes(passed)} (${after.note})`];
  });
  if (differences.length === 0)
    return answer('equal', `The gate decides the same: ${gateSentence(original)}.`, [], notes);
  const sentence = `The gate decides otherwise: ${differences[0]}${differences.length > 1 ? ' and more' : ''}.`;
  return answer('different', sentence, differences, notes);
}

type Rule = GateReport['rules'][number];

function heldAgainst(before: Rule, after: Rule): boolean {
  const rule = parseGateRule(before.rule);
  if (!isGateRule(rule) || rule.threshold.kind !== 'champion') return after.passed;
  if (after.value === null || after.value === 'NaN') return false;
  if (before.threshold === null) return true;
  return holds(Number(after.value), rule.comparison, Number(before.threshold));
}

function noGate(report: GateReport | null): boolean {
  return report === null || report.result === 'none';
}

function passes(passed: boolean): string {
  return passed ? 'passed' : 'failed';
}

function answer(
  result: GateDifference['result'],
  sentence: string,
  differences: string[] = [],
  notes: string[] = [],
): GateDifference {
  return { result, sentence, differences, notes };
}
