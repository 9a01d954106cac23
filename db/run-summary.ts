// The columns of a run that lists and single answers share.
import type { Grade, Layer, Verdict } from '#core/verdict.ts';
import { eq, inArray, type SQL, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { durationMs, isoInstant, isoInstantOrNull } from './instants.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

interface ShortVerdict {
  verdict: Verdict;
  grade: Grade;
  sentence: string;
  firstDifference: Layer | null;
  as: 'original' | 'reproduction';
  other: string;
}

/** The run's own verdict, else the newest on a reproduction of it. */
const shortVerdict = sql<ShortVerdict | null>`(
  select jsonb_build_object('verdict', v.verdict, 'grade', v.grade, 'sentence', v.report->'sentence',
    'firstDifference', v.report->'firstDifference',
    'as', case when v.run_id = ${runs.id} then 'reproduction' else 'original' end, 'other', p.name || '/' || r.number)
  from verdicts v
  join runs r on r.id = case when v.run_id = ${runs.id} then v.original_id else v.run_id end
  join projects p on p.id = r.project_id
  where v.run_id = ${runs.id} or v.original_id = ${runs.id}
  order by v.run_id = ${runs.id} desc, v.created_at desc limit 1)`;

export const summaryColumns = {
  id: runs.id,
  projectId: runs.projectId,
  project: projects.name,
  number: runs.number,
  experiment: runs.experiment,
  name: runs.name,
  tags: runs.tags,
  owner: runs.owner,
  priority: runs.priority,
  status: runs.status,
  waitingReason: runs.waitingReason,
  submittedAt: isoInstant(runs.submittedAt),
  startedAt: isoInstantOrNull(runs.startedAt),
  finishedAt: isoInstantOrNull(runs.finishedAt),
  durationMs: durationMs(runs.startedAt, runs.finishedAt),
  ref: runs.ref,
  branch: runs.branch,
  commit: runs.commit,
  commitMessage: runs.commitMessage,
  asOf: isoInstant(runs.asOf),
  dirty: runs.dirty,
  gateResult: runs.gateResult,
  failure: runs.failure,
  trigger: runs.trigger,
  verdict: shortVerdict,
};

export type RunSummaryRow = Awaited<ReturnType<typeof selectSummaries>>[number];

function selectSummaries(db: Queryable, condition: SQL) {
  return db.select(summaryColumns).from(runs).innerJoin(projects, eq(projects.id, runs.projectId)).where(condition);
}

export async function getRunSummary(db: Queryable, id: string): Promise<RunSummaryRow | undefined> {
  const [row] = await selectSummaries(db, eq(runs.id, id));
  return row;
}

/** In the order of the ids; undefined where there is no such run. */
export async function getRunSummaries(db: Queryable, ids: string[]): Promise<Array<RunSummaryRow | undefined>> {
  const rows = ids.length === 0 ? [] : await selectSummaries(db, inArray(runs.id, ids));
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => byId.get(id));
}

/** The run behind an id or a label like `digits/42`, if it is within reach. */
export async function findRunId(
  db: Queryable,
  reference: string,
  onlyProject: string | null,
): Promise<string | undefined> {
  const slash = reference.lastIndexOf('/');
  const named = slash < 0;
  const found = await db.execute<{ id: string }>(sql`
    select r.id from runs r join projects p on p.id = r.project_id
    where ${named ? sql`r.id = ${reference}::uuid` : sql`p.name = ${reference.slice(0, slash)} and r.number = ${Number(reference.slice(slash + 1))}::int`}
      and (${onlyProject}::uuid is null or r.project_id = ${onlyProject}::uuid)`);
  return found.rows[0]?.id;
}
