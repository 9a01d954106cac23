// The activities by their persisted names, as the workers register them and the workflows see them.
import { buildEnvironment, type BuildDeps } from './build-environment.ts';
import { claimStep, type ClaimDeps, type StageId } from './claim-step.ts';
import { abandonable, guarded } from './failures.ts';
import { closeStage, type FinishInput, finishRun, showAttention } from './finish-run.ts';
import { gate } from './gate.ts';
import { inspectAttempt } from './inspect-attempt.ts';
import { loadData, type LoadDeps } from './load-data.ts';
import { persist, type PersistDeps } from './persist.ts';
import { promote } from './promote.ts';
import { resolveCommit, type ResolveDeps } from './resolve-commit.ts';
import { runStage, type StageInput } from './run-stage.ts';
import type { StageDeps } from './stage/watch.ts';
import type { ExecutionInput } from './step.ts';
import { takeTick, type TickDeps, type TickInput } from './take-tick.ts';
import { verdict, type VerdictInput } from './verdict.ts';
import type { VerdictDeps } from './verdict/deps.ts';

export type ControlDeps = ResolveDeps & LoadDeps & ClaimDeps & TickDeps & PersistDeps & VerdictDeps;

/** What every control worker offers: steps without a slot. */
export function createActivities(deps: ControlDeps) {
  const { db } = deps;
  return {
    resolveCommit: abandonable((input: ExecutionInput) => resolveCommit(deps, input)),
    loadData: abandonable((input: ExecutionInput) => loadData(deps, input)),
    claimStep: guarded((input: StageId) => claimStep(deps, input)),
    inspectAttempt: guarded((input: StageId) => inspectAttempt(db, input)),
    closeStage: guarded((input: Parameters<typeof closeStage>[1]) => closeStage(db, input)),
    persist: guarded((input: ExecutionInput) => persist(deps, input)),
    gate: guarded((input: ExecutionInput) => gate(deps, input)),
    promote: guarded((input: ExecutionInput) => promote(db, input)),
    verdict: guarded((input: VerdictInput) => verdict(deps, input)),
    showAttention: guarded((input: Parameters<typeof showAttention>[1]) => showAttention(db, input)),
    finishRun: guarded((input: FinishInput) => finishRun(db, input)),
    takeTick: guarded((input: TickInput) => takeTick(deps, input)),
  };
}

/** What a stage worker offers on its pool's queue and on its own. */
export function createStageActivities(deps: StageDeps) {
  return { runStage: guarded((input: StageInput) => runStage(deps, input)) };
}

/** What a stage worker offers on the queue of its pool's environments; it takes no slot. */
export function createEnvironmentActivities(deps: BuildDeps) {
  return { buildEnvironment: abandonable((input: ExecutionInput) => buildEnvironment(deps, input)) };
}

export type Activities = ReturnType<typeof createActivities> &
  ReturnType<typeof createStageActivities> &
  ReturnType<typeof createEnvironmentActivities>;
