// A step's key and what it was made of, stored for explaining it.
import { createHash } from 'node:crypto';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { type KeyedStep, stepKeyText } from '#core/step-key.ts';
import type { Queryable } from '#db/connect.ts';
import { setStepKey, type StepId } from '#db/steps.ts';

/** Answers the key: lower-case hexadecimal sha256 of the canonical text. */
export async function keepStepKey(db: Queryable, id: StepId, step: KeyedStep, inputs: Json): Promise<string> {
  const stepKey = createHash('sha256').update(stepKeyText(step, inputs)).digest('hex');
  await setStepKey(db, id, stepKey, JSON.parse(canonicalJson(inputs)) as Record<string, Json>);
  return stepKey;
}
