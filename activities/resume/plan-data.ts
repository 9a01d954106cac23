// Whether a resumed run has its data: the as-of is inherited, so only another query, parameter or dataset gives others.
import { flattenParams } from '#core/params.ts';
import type { PlannedStep } from '#core/planned-step.ts';
import type { DataSource } from '#core/project.ts';
import { stepDifferences } from '#core/step-difference.ts';
import { type DatasetIngredient, loadDataInputs, type QueryIngredient } from '#core/step-key.ts';
import { findEarlierResults } from '#db/claims.ts';
import type { Database } from '#db/connect.ts';
import { findSnapshotByKey } from '#db/snapshots.ts';
import { datasetIngredient, queryIngredient } from '#activities/load-data.ts';
import { queryMissing } from '#activities/query-text.ts';
import { answerBefore } from '#activities/refetch.ts';
import type { StageFacts } from '#activities/stage/ingredients.ts';
import { stepKeyOf } from '#activities/step-keys.ts';
import type { Mirrors } from '#git/mirror.ts';
import { resolveDataset } from '#lake/datasets.ts';
import type { Lake } from '#lake/lake.ts';
import { planSnapshot } from '#lake/query.ts';
import { type Before, whyUnfinished } from './before.ts';
import type { Resumed } from './resumed.ts';

export interface DataOutlook {
  step: PlannedStep;
  /** What stages find or, when it will run, found the last time; null when it was never there. */
  rows: StageFacts['data'] | null;
  /** Whether the rows are what they will be, although the step may run. */
  isCertain: boolean;
}

interface DataDeps {
  db: Database;
  mirrors: Pick<Mirrors, 'readFile'>;
  lake: Pick<Lake, 'db' | 'engine'>;
}

const name = 'load-data';
const queryBytesMax = 1024 * 1024;

/** @throws what the queries would be refused with. */
export async function planData(deps: DataDeps, before: Before, resumed: Resumed): Promise<DataOutlook> {
  const step = { name, kind: 'platform' as const, reusedFrom: null, because: [], unless: [] };
  const names = resumed.config.data.map((source) => source.name);
  const pinned = before.data.filter((row) => names.includes(row.name));
  const isPinned = pinned.length === names.length;
  const isSame = resumed.runId === before.run.id;
  const unfinished = [whyUnfinished(before.newest(name))];
  if (isSame && isPinned) {
    return { step: { ...step, action: 'reuse', reusedFrom: before.label }, rows: pinned, isCertain: true };
  }
  if (isSame) return { step: { ...step, action: 'run', because: unfinished }, rows: null, isCertain: false };
  const found = await Promise.all(resumed.config.data.map((source) => look(deps, before, resumed, source)));
  const rows = found.map(({ row }) => row);
  const kept = before.keyed(name);
  const inputs = loadDataInputs({ sources: found.map(({ ingredient }) => ingredient) });
  const { stepKey, ingredients } = stepKeyOf('load-data', inputs);
  const isCertain = rows.every((row) => row !== null);
  const id = { runId: resumed.runId, execution: resumed.execution, step: name };
  const sharedWith = resumed.shares ? before.project.id : null;
  const [earlier] = isCertain ? await findEarlierResults(deps.db, id, stepKey, sharedWith) : [];
  if (isCertain && earlier !== undefined) {
    const isOwn = before.result(name)?.stepKey === stepKey;
    return { step: { ...step, action: 'reuse', reusedFrom: isOwn ? before.label : earlier.label }, rows, isCertain };
  }
  const texts = kept?.ingredients ? stepDifferences('load-data', kept.ingredients, ingredients) : [];
  const because = texts.length > 0 ? texts.map(({ text }) => text) : unfinished;
  return { step: { ...step, action: 'run', because }, rows: isCertain ? rows : isPinned ? pinned : null, isCertain };
}

interface Found {
  ingredient: QueryIngredient | DatasetIngredient;
  /** Null when the query has to be run. */
  row: StageFacts['data'][number] | null;
}

async function look(deps: DataDeps, before: Before, resumed: Resumed, source: DataSource): Promise<Found> {
  const { name: of, to } = source;
  const { asOf } = before.run;
  const query = source.kind === 'query' ? await readQuery(deps, before, resumed, source.query) : null;
  const params = Object.fromEntries(flattenParams(resumed.params));
  const pinned = before.data.find((row) => row.name === of);
  const kept = pinned && (await answerBefore(deps.lake, { asOf, params, query }, source, pinned));
  if (source.kind === 'dataset') {
    const { digest } = kept?.row ?? (await resolveDataset(deps.lake, source.dataset, { asOf }));
    return { ingredient: datasetIngredient(source, digest), row: { name: of, to, digest } };
  }
  const text = query ?? '';
  if (kept?.snapshot) {
    const ingredient = queryIngredient(before.run, source, text, kept.snapshot);
    return { ingredient, row: { name: of, to, digest: kept.row.digest } };
  }
  const plan = await planSnapshot(deps.lake, { query: text, params, asOf });
  const snapshot = await findSnapshotByKey(deps.db, plan.snapshotKey);
  const row = snapshot && { name: of, to, digest: snapshot.sha256 };
  return { ingredient: queryIngredient(before.run, source, text, plan), row };
}

async function readQuery({ mirrors }: DataDeps, { project }: Before, { commit }: Resumed, path: string) {
  const text = await mirrors.readFile(project.id, commit, path, queryBytesMax);
  if (text === null) throw queryMissing(path);
  return text.toString('utf8');
}
