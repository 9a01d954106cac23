// From a resume as it was asked for to what it comes to: the same run again or a new one, and the plan of its steps.
import type { z } from 'zod';
import type { ResumePlan, resumeBody } from '#contract/resume.ts';
import { type Before, loadBefore, whyUnfinished } from '#activities/resume/before.ts';
import { planSteps } from '#activities/resume/plan-steps.ts';
import { ancestors } from '#activities/stage/ancestors.ts';
import { seedOf } from '#contract/read-project.ts';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import { plannedSentence, type PlannedStep } from '#core/planned-step.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import { runCan } from '#core/run.ts';
import { requireStages } from '#core/stage-names.ts';
import { newId } from '#db/ids.ts';
import { nothingToResume, requireClosed } from '#db/resume.ts';
import { getRunToCopy } from '#db/runs.ts';
import { plainSubmit, type Submit } from '#db/submit.ts';
import { isFullHash } from '#git/reference.ts';
import type { ApiDeps } from './deps.ts';
import { commitMissing, readForRun } from './submit.ts';

type Body = z.output<typeof resumeBody>;

export interface Resume {
  plan: ResumePlan;
  rerun: string[];
  /** Null when the same run goes on. */
  submit: (Omit<Submit, 'request'> & { resumedFrom: string }) | null;
}

/** @throws DomainError for everything that can be known before anything goes on. */
export async function prepareResume(deps: ApiDeps, runId: string, by: string, body: Body): Promise<Resume> {
  const before = await loadBefore(deps.connection.db, runId);
  requireClosed(before.run.status);
  const target = await findTarget(deps, before, body);
  const isNew = target.isChanged || (body.from !== undefined && !runCan('resume', before.run.status));
  if (isNew) requireNoReproduction(before);
  else if (!runCan('resume', before.run.status)) throw nothingToResume();
  const as = isNew ? 'run' : 'execution';
  if (target.config === null) {
    if (body.from !== undefined) throw stagesUnknown(before);
    return { plan: planOf(before, as, null, [startOver(before)]), rerun: [], submit: null };
  }
  const { config, params, commit } = target;
  const rerun = body.from === undefined ? [] : downstream(config, body.from);
  const resumed = {
    runId: isNew ? newId() : runId,
    execution: isNew ? 1 : 1 + before.executions,
    commit,
    config,
    params,
    seed: before.run.seed ?? seedOf(config, before.run.seedAsked),
    from: body.from ?? null,
    rerun,
    shares: isNew || (before.run.reuse && before.run.reproduces === null),
  };
  const { connection, store, mirrors, lakeEngine } = deps;
  const { db } = connection;
  const steps = await planSteps({ db, store, mirrors, lake: { db, engine: lakeEngine } }, before, resumed);
  const plan = planOf(before, as, commit, steps);
  return { plan, rerun, submit: isNew ? await submitOf(deps, before, { ...target, by, rerun }) : null };
}

interface Target {
  isChanged: boolean;
  commit: string;
  ref: string;
  branch: string | null;
  overrides: Record<string, unknown>;
  config: ProjectConfig;
  params: Params;
}

/** Config is null for a run that never reached a commit and is to start over as it was asked for. */
async function findTarget(
  deps: ApiDeps,
  before: Before,
  body: Body,
): Promise<Target | { isChanged: false; config: null }> {
  const { run, config } = before;
  const asksNothing = body.commit === undefined && body.ref === undefined && body.params === undefined;
  if (asksNothing) {
    if (config === null) return { isChanged: false, config: null };
    const { commit, ref, branch, overrides } = run;
    return { isChanged: false, commit: commit ?? '', ref, branch, overrides, config, params: before.params };
  }
  const found = await findCommit(deps, before, body);
  const overrides = { ...run.overrides, ...body.params };
  const same = { ...found, overrides, isChanged: false };
  const isSameCommit = found.commit === run.commit;
  if (config === null) {
    const isSame = isSameCommit && canonicalJson(overrides as Json) === canonicalJson(run.overrides as Json);
    if (isSame) return { isChanged: false, config: null };
  } else if (isSameCommit && body.params === undefined) return { ...same, config, params: before.params };
  const { project } = before;
  const wanted = { commit: found.commit, command: run.command, overrides };
  const reading = await readForRun(deps, project, wanted);
  const isSame = isSameCommit && config !== null && canonicalJson(reading.params) === canonicalJson(before.params);
  if (isSame) return { ...same, config, params: before.params };
  return { ...same, isChanged: true, config: reading.config, params: reading.params };
}

/** A commit that is here is never fetched; a branch or tag is asked of the remote, if there is one. */
async function findCommit(
  { mirrors }: ApiDeps,
  { run, project }: Before,
  body: Body,
): Promise<Pick<Target, 'commit' | 'ref' | 'branch'>> {
  const isAsked = body.commit !== undefined || body.ref !== undefined;
  const ref = body.ref ?? body.commit ?? run.ref;
  const wanted = isAsked ? (body.commit ?? ref) : (run.commit ?? ref);
  await mirrors.ensure(project.id);
  const isHere = async () => isFullHash(wanted) && (await mirrors.hasCommits(project.id, [wanted])).length > 0;
  if (!(await isHere()) && project.remoteUrl !== null) await mirrors.fetchRemote(project.id, project.remoteUrl);
  if (isFullHash(wanted) && project.remoteUrl === null && !(await isHere())) throw commitMissing(wanted);
  const found = await mirrors.resolve(project.id, wanted);
  await mirrors.pin(project.id, found.commit);
  const named = isFullHash(ref) ? null : ref;
  return { commit: found.commit, ref, branch: found.branch ?? (isAsked ? named : run.branch) };
}

/** The stage and every stage that needs it, in order. */
function downstream({ stages }: ProjectConfig, from: string): string[] {
  requireStages([from], stages, 'body.from');
  return stages.map(({ name }) => name).filter((name) => name === from || ancestors(stages, name).has(from));
}

async function submitOf(
  { connection: { db } }: ApiDeps,
  { run, label }: Before,
  { by, rerun, commit, ref, branch, overrides }: Target & { by: string; rerun: string[] },
): Promise<Omit<Submit, 'request'> & { resumedFrom: string }> {
  const model = await getRunToCopy(db, run.id);
  if (model === undefined) throw new TypeError(`Run ${label} is gone although runs are not deleted.`);
  const isSameCode = commit === run.commit;
  return {
    ...plainSubmit,
    projectId: run.projectId,
    owner: by,
    ref,
    commit,
    branch,
    experiment: model.experiment,
    name: run.name,
    tags: run.tags,
    overrides,
    seed: model.seed ?? model.seedAsked,
    command: model.command,
    asOf: model.asOf,
    dirty: isSameCode && model.dirty,
    patchSha256: isSameCode ? model.patchSha256 : null,
    rerun,
    resumedFrom: run.id,
    trigger: null,
    priority: run.priority,
  };
}

function planOf(
  { label }: Before,
  as: ResumePlan['as'],
  commit: string | null,
  steps: readonly PlannedStep[],
): ResumePlan {
  return { run: label, as, commit, steps: steps.map((step) => ({ ...step, sentence: plannedSentence(step) })) };
}

function startOver(before: Before): PlannedStep {
  const name = 'resolve-commit';
  const because = [whyUnfinished(before.newest(name))];
  return { name, kind: 'platform', action: 'run', reusedFrom: null, because, unless: [] };
}

function stagesUnknown({ label }: Before): DomainError {
  const message = `${label} never reached a commit, so its stages are not known. Resume it without --from.`;
  return new DomainError('conflict', message, [{ path: 'body.from', message }]);
}

function requireNoReproduction({ run, label }: Before): void {
  if (run.reproduces === null) return;
  throw new DomainError(
    'conflict',
    `${label} is a reproduction, which has to stay what it reproduces. Resume it without changes, or resume the run it reproduces.`,
  );
}
