// Promotion by the project's own rule; a person promotes through the API. Both are the one transaction in db.
import { DomainError } from '#core/errors.ts';
import type { Database } from '#db/connect.ts';
import { createVersions } from '#db/models.ts';
import { promoteIn, wasPromoted } from '#db/promotions.ts';
import { loadRun } from '#db/run-facts.ts';
import { closeStep, startStep } from '#db/steps.ts';
import type { ExecutionInput } from './step.ts';

/** A promotion that is refused now (the champion moved and is better) is an outcome, not a failure of the run. */
export async function promote(db: Database, input: ExecutionInput): Promise<string> {
  const id = { ...input, step: 'promote' };
  await startStep(db, id);
  const { run } = await loadRun(db, input.runId);
  try {
    const promoted = await db.transaction(async (tx) => {
      const versions = await createVersions(tx, run.id);
      for (const { modelId, version } of versions) {
        if (await wasPromoted(tx, modelId, run.id)) continue;
        await promoteIn(
          tx,
          { modelId, version, alias: 'production', by: `rule of ${run.owner}`, reason: 'promote: when-passed' },
          null,
        );
      }
      return versions;
    });
    const line = promoted.map(({ model, version }) => `${model} version ${version} is in production.`).join(' ');
    await closeStep(db, id, { status: 'succeeded', facts: { promoted } });
    return line;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    await closeStep(db, id, { status: 'skipped', reason: error.message });
    return `Not promoted: ${error.message}`;
  }
}
