// A step's key and what it was made of, stored for explaining it.
import { createHash } from 'node:crypto';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { type KeyedStep, stepKeyText } from '#core/step-key.ts';
import { type EarlierResult, findEarlierResults } from '#db/claims.ts';
import type { Database } from '#db/connect.ts';
import { setStepKey, type StepId } from '#db/steps.ts';

/** The key is the lower-case hexadecimal sha256 of the canonical text. */
export function stepKeyOf(step: KeyedStep, inputs: Json): { stepKey: string; ingredients: Record<string, Json> } {
  const stepKey = createHash('sha256').update(stepKeyText(step, inputs)).digest('hex');
  return { stepKey, ingredients: JSON.parse(canonicalJson(inputs)) as Record<string, Json> };
}

/**
 * Keeps the key of a platform step and answers the newest equal step, whose result it is when nothing had to be made for
 * it. A reproduction neither gives nor takes.
 */
export async function keepStepKey(
  db: Database,
  id: StepId,
  keyed: { step: KeyedStep; inputs: Json },
  run: { projectId: string; reuse: boolean; reproduces: string | null },
): Promise<EarlierResult | null> {
  const { stepKey, ingredients } = stepKeyOf(keyed.step, keyed.inputs);
  await setStepKey(db, id, stepKey, ingredients, run.reproduces === null);
  const sharedWith = run.reuse && run.reproduces === null ? run.projectId : null;
  return (await findEarlierResults(db, id, stepKey, sharedWith))[0] ?? null;
}
