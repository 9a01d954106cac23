import { createHmac, type KeyObject } from 'node:crypto';
import type { Stage } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { openSecret } from '#db/secrets.ts';

/** The values a stage asked for, for its variables and for masking its log; they go nowhere else. */
export async function openStageSecrets(
  deps: { db: Database; secretsKey: KeyObject },
  projectId: string,
  stage: Stage,
): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const name of stage.secrets) {
    values[name] = (await openSecret(deps.db, deps.secretsKey, { projectId, name })).value;
  }
  return values;
}

/**
 * The token with which a launch may ask Assay's API about its own run, as long as its attempt is current. It is derived,
 * so that a worker that starts the launch after another died needs nothing that was never written down.
 */
export function stageToken(secretsKey: KeyObject, launch: string): string {
  return `assay_${createHmac('sha256', secretsKey).update(`stage token of ${launch}`).digest('base64url')}`;
}
