// From a submit as it was sent to a run as it is accepted: what `like` gives, what the commit says, what is stored.
import type { z } from 'zod';
import type { submitRunBody } from '#contract/runs.ts';
import { type CommitReading, readCommit, readConfiguration, requireInitialStage } from '#activities/read-commit.ts';
import { parseInitFrom } from '#core/checkpoint.ts';
import { DomainError } from '#core/errors.ts';
import { defaultPriority } from '#core/priority.ts';
import { requireStages } from '#core/stage-names.ts';
import { type CheckpointSet, chooseInitialCheckpoint, getInitialCheckpoint } from '#db/checkpoints.ts';
import { listPools } from '#db/nodes.ts';
import { getRunToCopy } from '#db/runs.ts';
import type { Submit } from '#db/submit.ts';
import type { FoundProject } from '#db/projects.ts';
import type { Principal } from '#db/tokens.ts';
import { isFullHash, parseReference } from '#git/reference.ts';
import { keepBlob } from '#storage/keep.ts';
import type { Access } from './access.ts';
import type { ApiDeps } from './deps.ts';

type Body = z.output<typeof submitRunBody>;
type Model = NonNullable<Awaited<ReturnType<typeof getRunToCopy>>>;

/** @throws DomainError for everything that can be known before the run starts. */
export async function prepareSubmit(
  deps: ApiDeps,
  access: Access,
  principal: Principal,
  project: FoundProject,
  body: Body,
): Promise<Omit<Submit, 'request'>> {
  const like = body.like === undefined ? null : await loadModelRun(deps, access, principal, body.like);
  const source = sourceOf(body, like, project.defaultBranch);
  const overrides = { ...like?.overrides, ...body.params };
  const command = body.command ?? like?.command ?? null;
  const initFrom = await initialOf(deps, access, principal, body, like);
  const reading = await inspect(deps, project, { commit: source.commit, command, overrides });
  if (reading !== null) {
    requireInitialStage(reading.config, initFrom);
    requireStages(body.rerun ?? [], reading.config.stages, 'body.rerun');
  }
  return {
    projectId: project.id,
    owner: principal.owner,
    ...source,
    experiment: body.experiment ?? like?.experiment ?? 'default',
    name: body.name ?? null,
    note: body.note ?? null,
    tags: [...new Set(body.tags)],
    overrides,
    seed: body.seed ?? like?.seed ?? like?.seedAsked ?? null,
    command,
    asOf: body.asOf ?? like?.asOf ?? null,
    ...(await patchOf(deps, body, like)),
    reuse: body.reuse ?? true,
    likeRunId: like?.id ?? null,
    rerun: body.rerun ?? [],
    resumedFrom: null,
    reproduces: null,
    initFrom,
    reproducesOnly: null,
    trigger: null,
    priority: body.priority ?? defaultPriority,
  };
}

async function loadModelRun(deps: ApiDeps, access: Access, principal: Principal, like: string): Promise<Model> {
  const model = await getRunToCopy(deps.connection.db, await access.run(principal, like));
  if (model === undefined) throw new TypeError(`Run ${like} is gone although runs are not deleted.`);
  return model;
}

/** A run that is like another starts from the same checkpoints, unless it runs something else. */
async function initialOf(
  { connection: { db } }: ApiDeps,
  access: Access,
  principal: Principal,
  body: Body,
  like: Model | null,
): Promise<CheckpointSet | null> {
  if (body.initFrom !== undefined) {
    const { run, step } = parseInitFrom(body.initFrom);
    return await chooseInitialCheckpoint(db, await access.run(principal, run), step);
  }
  return like === null || body.command !== undefined ? null : await getInitialCheckpoint(db, like.id);
}

/** A known commit is what runs; the reference beside it only says where it was submitted from. */
function sourceOf(body: Body, like: Model | null, defaultBranch: string): Pick<Submit, 'ref' | 'commit' | 'branch'> {
  if (body.ref === undefined && body.commit === undefined && like !== null) {
    return { ref: like.ref, commit: like.commit, branch: like.branch };
  }
  const ref = body.ref ?? body.commit ?? defaultBranch;
  parseReference(ref);
  const commit = body.commit ?? (isFullHash(ref) ? ref : null);
  return { ref, commit, branch: commit !== null && !isFullHash(ref) ? ref : null };
}

type Wanted = { command: string[] | null; overrides: Record<string, unknown> };

/** Only a commit that is here already can be read now; for any other its first step says what is wrong. */
async function inspect(
  deps: ApiDeps,
  project: FoundProject,
  { commit, ...wanted }: Wanted & { commit: string | null },
): Promise<Pick<CommitReading, 'config' | 'params'> | null> {
  if (commit === null) return null;
  if ((await deps.mirrors.hasCommits(project.id, [commit])).length > 0) {
    return await readForRun(deps, project, { ...wanted, commit });
  }
  if (project.remoteUrl === null) throw commitMissing(commit);
  return null;
}

/** While no node is up nobody knows which pools there are, and a run that waits for one is what people expect. */
export async function readForRun(
  { connection: { db }, mirrors, facts: { offer } }: ApiDeps,
  project: Pick<FoundProject, 'id' | 'name'>,
  wanted: Wanted & { commit: string },
): Promise<Pick<CommitReading, 'config' | 'params'>> {
  try {
    return await readCommit({ db, mirrors, offer }, { ...wanted, project });
  } catch (error) {
    const isUnknown =
      error instanceof DomainError && error.code === 'pool-missing' && (await listPools(db)).length === 0;
    if (!isUnknown) throw error;
    return await readConfiguration({ db, mirrors, offer }, { ...wanted, project });
  }
}

export function commitMissing(commit: string): DomainError {
  return new DomainError(
    'commit-not-found',
    `The server does not have the commit ${commit}, and the project has no remote to fetch it from. Send it first, as \`assay run\` does.`,
  );
}

async function patchOf(
  { connection, store }: ApiDeps,
  body: Body,
  like: Model | null,
): Promise<Pick<Submit, 'dirty' | 'patchSha256'>> {
  if (body.dirty !== undefined) {
    const { sha256 } = await keepBlob(connection.db, store, Buffer.from(body.dirty.patch, 'base64'));
    return { dirty: true, patchSha256: sha256 };
  }
  const sameCode = body.ref === undefined && body.commit === undefined && like !== null;
  return sameCode ? { dirty: like.dirty, patchSha256: like.patchSha256 } : { dirty: false, patchSha256: null };
}
