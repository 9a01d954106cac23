// The first step: what the run will be, found once and never again.
import { seedOf } from '#contract/read-project.ts';
import type { RunnerOffer } from '#core/network.ts';
import type { Plan } from '#core/plan.ts';
import type { ProjectConfig } from '#core/project.ts';
import { requireStages } from '#core/stage-names.ts';
import { getInitialCheckpoint } from '#db/checkpoints.ts';
import type { Database } from '#db/connect.ts';
import { listRerun } from '#db/claims.ts';
import { openExecution } from '#db/executions.ts';
import { syncFileSchedule } from '#db/file-schedule.ts';
import { listPools } from '#db/nodes.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { loadLabel } from '#db/run-label.ts';
import { insertSteps, type NewStep, setResolved, showWhetherRunWaits, waitForNode } from '#db/steps.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { KeepSource } from './keep-source.ts';
import { readCommit, requireInitialStage } from './read-commit.ts';
import { resolveOriginal } from './reproduction/resolve-original.ts';
import { asStep, type ExecutionInput } from './step.ts';

export interface ResolveDeps {
  db: Database;
  store: BlobStore;
  mirrors: Mirrors;
  keepSource: KeepSource;
  publicUrl: string;
  offer: RunnerOffer;
}

export type Resolved =
  | { stopped: true }
  | {
      stopped: false;
      plan: Plan;
      commit: string;
      model: string | null;
      /** Markdown for the Temporal UI. */
      lines: { run: string; commit: string };
    };

export async function resolveCommit(deps: ResolveDeps, input: ExecutionInput): Promise<Resolved> {
  if (!(await openExecution(deps.db, input.runId, input.execution))) return { stopped: true };
  await insertSteps(deps.db, input.runId, input.execution, [{ name: 'resolve-commit', kind: 'platform', needs: [] }]);
  const answer = await asStep(deps.db, { ...input, step: 'resolve-commit' }, async () => {
    const before = await loadRun(deps.db, input.runId);
    if (before.run.plan === null) {
      if (before.run.reproduces === null)
        await resolveOnce(deps, before, await listRerun(deps.db, input.runId, input.execution));
      else await resolveOriginal(deps, before);
    }
    const resolved = await loadRun(deps.db, input.runId);
    const { run } = resolved;
    if (run.plan === null || run.config === null || run.commit === null)
      throw new TypeError('a resolved run has a plan');
    const original = run.reproduces === null ? null : await loadLabel(deps.db, run.reproduces);
    await insertSteps(deps.db, input.runId, input.execution, stepsOf(run.config, run.plan, run.reproduces !== null));
    return {
      result: {
        stopped: false as const,
        plan: run.plan,
        commit: run.commit,
        model: run.config.models[0]?.name ?? null,
        lines: linesOf(deps.publicUrl, resolved, original),
      },
      facts: {
        commit: run.commit,
        tree: run.tree,
        branch: run.branch,
        origin: run.config.origin,
        notYet: run.config.notYet,
      },
    };
  });
  await sayIfNoNode(deps.db, input, answer.plan);
  return answer;
}

/** The pool may have no node at the moment: people should know what the run waits for. */
async function sayIfNoNode(db: Database, input: ExecutionInput, { stages }: Plan): Promise<void> {
  const pool = stages[0]?.pool;
  if (pool === undefined || !(await waitForNode(db, { ...input, step: 'build-environment' }, pool))) return;
  await showWhetherRunWaits(db, input.runId, input.execution);
}

async function resolveOnce(deps: ResolveDeps, { run, project }: LoadedRun, rerun: readonly string[]): Promise<void> {
  const found = await findCommit(deps, { run, project });
  if ((await listPools(deps.db)).length === 0) throw new Error('no node has registered yet; start a stage worker');
  const { config, params, plan } = await readCommit(deps, { ...run, project, commit: found.commit });
  requireInitialStage(config, await getInitialCheckpoint(deps.db, run.id));
  requireStages(rerun, config.stages, 'rerun');
  const sourceSha256 = await deps.keepSource(project.id, found.commit);
  const branch = found.branch ?? run.branch;
  // Before the plan is written: a step that is repeated with a plan comes no more here.
  if (branch === project.defaultBranch && !run.dirty && run.command === null) {
    const { commit, committedAt } = found;
    const declared = config.triggers.schedule;
    await syncFileSchedule(deps.db, { projectId: project.id, branch, commit, committedAt, declared, by: run.owner });
  }
  await setResolved(deps.db, run.id, {
    commit: found.commit,
    tree: found.tree,
    branch,
    commitMessage: found.message,
    commitAuthor: `${found.authorName} <${found.authorEmail}>`,
    sourceSha256,
    config,
    params,
    seed: seedOf(config, run.seedAsked),
    plan,
  });
}

/** A commit that is here is never fetched; a branch or tag is asked of the remote, if there is one. */
async function findCommit(deps: ResolveDeps, { run, project }: LoadedRun) {
  await deps.mirrors.ensure(project.id);
  const wanted = run.commit ?? run.ref;
  const isHere = /^[0-9a-f]{40,64}$/.test(wanted) && (await deps.mirrors.hasCommits(project.id, [wanted])).length > 0;
  if (!isHere && project.remoteUrl !== null) await deps.mirrors.fetchRemote(project.id, project.remoteUrl);
  const found = await deps.mirrors.resolve(project.id, wanted);
  await deps.mirrors.pin(project.id, found.commit);
  return found;
}

function stepsOf(config: ProjectConfig, plan: Plan, isReproduction: boolean): NewStep[] {
  const platform = (name: string, needs: string[]): NewStep => ({ name, kind: 'platform', needs });
  const before = config.data.length > 0 ? ['build-environment', 'load-data'] : ['build-environment'];
  const stages = plan.stages.map(({ name, needs }) => ({
    name,
    kind: 'stage' as const,
    needs: needs.length > 0 ? needs : before,
  }));
  const ends = [
    platform(
      'persist',
      stages.map(({ name }) => name),
    ),
    platform('gate', ['persist']),
    platform(isReproduction ? 'verdict' : 'promote', ['gate']),
  ];
  return [
    platform('resolve-commit', []),
    ...before.map((name) => platform(name, ['resolve-commit'])),
    ...stages,
    ...(plan.only === undefined ? ends : []),
  ];
}

function linesOf(
  publicUrl: string,
  { run, project }: LoadedRun,
  original: string | null,
): { run: string; commit: string } {
  const label = `${project.name}/${run.number}`;
  const branch = run.branch === null ? '' : ` on ${run.branch}`;
  const again = original === null ? '' : `, reproduces [${original}](${publicUrl}/api/v1/runs/${run.reproduces})`;
  return {
    run: `[${label}](${publicUrl}/api/v1/runs/${run.id})${run.name === null ? '' : ` ${run.name}`}, owner ${run.owner}, as of ${run.asOf.replace(' ', 'T').replace('+00', 'Z')}, seed ${run.seed}${again}`,
    commit: `\`${run.commit?.slice(0, 12)}\`${branch}: ${run.commitMessage ?? ''} ([source](${publicUrl}/api/v1/runs/${run.id}/source))`,
  };
}
