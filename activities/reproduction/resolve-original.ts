// Where a reproduction begins: nothing is asked of a remote or read from a file, everything comes from the original's row.
import { createPlan, type Plan } from '#core/plan.ts';
import { choosePool } from '#core/pool.ts';
import type { ProjectConfig } from '#core/project.ts';
import { touchBlob } from '#db/blobs.ts';
import { listPools } from '#db/nodes.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { setResolved } from '#db/steps.ts';
import type { Mirrors } from '#git/mirror.ts';
import { blobMissing } from '#storage/blob-store.ts';
import { ancestors } from '#activities/stage/ancestors.ts';
import { type KeptDeps, orNotReproducible, requireReproducible } from './missing-facts.ts';

export type OriginalDeps = KeptDeps & { mirrors: Pick<Mirrors, 'ensureTree'> };

/** @throws not-reproducible */
export async function resolveOriginal(deps: OriginalDeps, { run, project }: LoadedRun): Promise<void> {
  const { run: original, ...rest } = await loadRun(deps.db, run.reproduces ?? '');
  await requireReproducible(deps, { run: original, ...rest }, run.reproducesOnly);
  const { commit, tree, config, params, seed, sourceSha256, plan } = original;
  if (commit === null || tree === null || config === null || sourceSha256 === null || plan === null)
    throw new TypeError('a run that can be reproduced was resolved');
  await orNotReproducible('source', async () => {
    if (!(await touchBlob(deps.db, sourceSha256))) throw blobMissing(sourceSha256);
    await deps.mirrors.ensureTree(project.id, tree, () => deps.store.get(sourceSha256));
  });
  await setResolved(deps.db, run.id, {
    commit,
    tree,
    branch: original.branch,
    commitMessage: original.commitMessage,
    commitAuthor: original.commitAuthor,
    sourceSha256,
    config,
    params,
    seed,
    plan: await planLike(deps, plan, config, run.reproducesOnly),
  });
}

/** The pools of the original where there still are such; nothing is promoted. */
async function planLike(
  { db }: OriginalDeps,
  { stages }: Plan,
  config: ProjectConfig,
  only: string | null,
): Promise<Plan> {
  const pools = await listPools(db);
  if (pools.length === 0) throw new Error('no node has registered yet; start a stage worker');
  const before = new Map(stages.map(({ name, pool }) => [name, pool]));
  const poolOf = (name: string) => {
    const known = pools.find(({ pool }) => pool === before.get(name));
    const stage = config.stages.find((one) => one.name === name);
    if (stage === undefined) throw new TypeError(`The run has no stage ${name}.`);
    return known?.pool ?? choosePool(stage, pools);
  };
  const wanted = only === null ? null : ancestors(config.stages, only).add(only);
  const narrowed = wanted === null ? config.stages : config.stages.filter(({ name }) => wanted.has(name));
  const plan = createPlan({ ...config, stages: narrowed }, poolOf);
  return { ...plan, promote: 'by-hand', ...(only === null ? {} : { only }) };
}
