// A step's key and what it was made of, stored for explaining it.
import { createHash } from 'node:crypto';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { type KeyedStep, stepKeyText } from '#core/step-key.ts';
import type { Queryable } from '#db/connect.ts';
import { setStepKey, type StepId } from '#db/steps.ts';

/** The key is the lower-case hexadecimal sha256 of the canonical text. */
export function stepKeyOf(step: KeyedStep, inputs: Json): { stepKey: string; ingredients: Record<string, Json> } {
  const stepKey = createHash('sha256').update(stepKeyText(step, inputs)).digest('hex');
  return { stepKey, ingredients: JSON.parse(canonicalJson(inputs)) as Record<string, Json> };
}

export async function keepStepKey(db: Queryable, id: StepId, step: KeyedStep, inputs: Json): Promise<void> {
  const { stepKey, ingredients } = stepKeyOf(step, inputs);
  await setStepKey(db, id, stepKey, ingredients);
}
