// A reproduction gets the rows and files of its original: the same snapshots and dataset versions, checked byte by byte.
import { DomainError } from '#core/errors.ts';
import type { Database } from '#db/connect.ts';
import { findStepWithFacts, listDatasetBlobs } from '#db/reproductions.ts';
import { listRunData, pinRunData, type RunData } from '#db/run-data.ts';
import { findSnapshot } from '#db/snapshots.ts';
import { setStepKey, type StepId } from '#db/steps.ts';
import type { Lake } from '#lake/lake.ts';
import { mapLimited } from '#lake/map-limited.ts';
import { orNotReproducible } from './missing-facts.ts';

const filesAtOnce = 4;

/** Checks the data, then pins them to the run. @throws not-reproducible */
export async function pinDataOf(
  deps: { db: Database; lake: Pick<Lake, 'store'> },
  originalId: string,
  id: StepId,
): Promise<void> {
  const pinned = await listRunData(deps.db, originalId);
  for (const row of pinned) await orNotReproducible(`data ${row.name}`, () => check(deps, row));
  const files = await listDatasetBlobs(deps.db, originalId);
  await mapLimited(files, filesAtOnce, ({ name, sha256 }) =>
    orNotReproducible(`data ${name}`, () => readToTheEnd(deps.lake, sha256)),
  );
  for (const row of pinned) await pinRunData(deps.db, { ...row, runId: id.runId });
  const step = await findStepWithFacts(deps.db, originalId, 'load-data');
  if (step?.stepKey && step.ingredients) await setStepKey(deps.db, id, step.stepKey, step.ingredients, false);
}

async function check(deps: { db: Database; lake: Pick<Lake, 'store'> }, row: RunData): Promise<void> {
  if (row.datasetName !== null) return;
  const snapshot = await findSnapshot(deps.db, row.snapshotId ?? '');
  if (snapshot === null) throw new DomainError('not-reproducible', `The snapshot of the data ${row.name} is gone.`);
  await readToTheEnd(deps.lake, snapshot.sha256);
}

/** The store compares the bytes with their name at the end of a full read. */
async function readToTheEnd({ store }: Pick<Lake, 'store'>, sha256: string): Promise<void> {
  for await (const piece of await store.get(sha256)) void piece;
}
