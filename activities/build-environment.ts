// The step that pins a run's packages. An unchanged requirement text resolves nothing, a code-only change builds nothing.
import { DomainError } from '#core/errors.ts';
import { environmentInputs } from '#core/step-key.ts';
import type { Database } from '#db/connect.ts';
import { setRunEnvironment } from '#db/environments.ts';
import { findBuiltBefore } from '#db/resume.ts';
import { loadRun } from '#db/run-facts.ts';
import { showWhetherRunWaits } from '#db/steps.ts';
import { diskFull, isFullDisk } from '#environment/image/engine.ts';
import { openStepLog } from './step-log.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { BuiltEnvironment, Environments, KeptLock } from './environments.ts';
import { useEnvironmentOf } from './reproduction/use-environment.ts';
import type { SourceCache } from './stage/source-cache.ts';
import { asStep, type ExecutionInput } from './step.ts';
import { keepStepKey } from './step-keys.ts';

export interface BuildDeps {
  db: Database;
  store: BlobStore;
  sources: SourceCache;
  environments: Environments;
  publicUrl: string;
}

/** Answers one line of markdown for the Temporal UI. */
export async function buildEnvironment(deps: BuildDeps, input: ExecutionInput): Promise<string> {
  const id = { ...input, step: 'build-environment' };
  const log = openStepLog(deps, { runId: input.runId, step: id.step });
  const work = async () => {
    const { run } = await loadRun(deps.db, input.runId);
    if (run.status === 'waiting') await showWhetherRunWaits(deps.db, input.runId, input.execution);
    if (run.config === null || run.sourceSha256 === null) throw new TypeError('a resolved run has its source');
    const root = await deps.sources.directory(run.sourceSha256);
    const { config, reproduces } = run;
    try {
      const onLine = (line: string) => log.line(line);
      const build = async () => {
        if (reproduces !== null)
          return await useEnvironmentOf(deps, reproduces, { config, openRoot: async () => root }, onLine);
        const kept = (await findBuiltBefore(deps.db, run, input.execution)) as KeptLock | null;
        return await deps.environments.build(root, config, onLine, kept);
      };
      const built = await tellingFullDisk(build);
      const keyed = { step: 'build-environment' as const, inputs: environmentInputs(built.identity) };
      const earlier = await keepStepKey(deps.db, id, keyed, run);
      const isMade = built.facts.lock === 'resolved' || built.facts.environment === 'built';
      await setRunEnvironment(deps.db, run.id, built.environmentKey);
      return {
        result: lineOf(`${deps.publicUrl}/api/v1/runs/${run.id}/lock`, built),
        facts: { ...built.facts, environmentKey: built.environmentKey },
        earlier: isMade ? null : earlier,
      };
    } finally {
      await log.close();
    }
  };
  return await asStep(deps.db, id, work, log.tail);
}

/** Trying again at once would meet the same disk, so it is told as what it is, whoever of our programs met it. */
async function tellingFullDisk<R>(build: () => Promise<R>): Promise<R> {
  try {
    return await build();
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw isFullDisk(said) && !(error instanceof DomainError) ? diskFull('the environment was made') : error;
  }
}

function lineOf(lockUrl: string, { environmentKey, facts }: BuiltEnvironment): string {
  const built = facts.environment === 'hit' ? 'hit' : `built in ${facts.builtMs} ms`;
  const source = facts.file ?? 'no requirement file';
  return `\`${environmentKey.slice(0, 12)}\` from ${source}, Python ${facts.python}: [lock](${lockUrl}) ${facts.lock}, environment ${built}`;
}
