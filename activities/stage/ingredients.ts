// Everything that can change what a stage makes, gathered from where it is kept. Also asked for runs that do not exist yet.
import { digestedPaths, stageTree } from '#core/code-scope.ts';
import { narrowParams } from '#core/params.ts';
import type { Params, ProjectConfig, Stage } from '#core/project.ts';
import type { StageIngredients, UpstreamFile } from '#core/step-key.ts';
import type { Database } from '#db/connect.ts';
import { getEnvironment } from '#db/environments.ts';
import { listSecrets } from '#db/secrets.ts';
import type { Artifact } from '#db/outputs.ts';
import { digestEntries, ignoreFile, ignoreGlob } from '#git/code-digest.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { TreeEntry } from '#git/tree.ts';
import { ancestors } from './ancestors.ts';
import { compileGlob } from './workspace.ts';

export interface IngredientDeps {
  db: Database;
  mirrors: Pick<Mirrors, 'listTree' | 'readFile'>;
}

export interface StageFacts {
  project: { id: string; name: string };
  /** Commit or tree. */
  commit: string;
  config: ProjectConfig;
  params: Params;
  seed: number;
  environmentKey: string | null;
  /** Files that entered the lock, and so the environment's key. */
  requirementFiles: readonly string[];
  data: readonly { name: string; to: string; digest: string }[];
  /** Checkpoints of another run that the stage of that name starts from. */
  initFrom: { step: string; digest: string } | null;
  /** Outputs of stages that ran before; those of stages this one does not need are left out. */
  outputs: readonly Pick<Artifact, 'step' | 'path' | 'executable' | 'sha256'>[];
}

const ignoreBytesMax = 256 * 1024;

export async function stageIngredients(
  deps: IngredientDeps,
  stage: Stage,
  facts: StageFacts,
): Promise<StageIngredients> {
  const { config, project } = facts;
  const [stored, runner, entries] = await Promise.all([
    listSecrets(deps.db, project.id),
    runnerOf(deps.db, facts.environmentKey),
    digestedEntries(deps.mirrors, stage, facts),
  ]);
  const secrets = new Map(stored.map(({ name, version }) => [name, version]));
  const needed = ancestors(config.stages, stage.name);
  return {
    project: project.name,
    stage: stage.name,
    codeDigest: digestEntries(entries),
    command: stage.command,
    params: narrowParams(facts.params, stage.params),
    paramStyle: config.params.style,
    environmentKey: facts.environmentKey,
    upstream: facts.outputs.filter((output) => needed.has(output.step)).map(upstreamFile),
    data: facts.data.map(({ name, to, digest }) => ({ name, to, digest })),
    initFrom: facts.initFrom?.step === stage.name ? facts.initFrom.digest : null,
    seed: facts.seed,
    env: { ...config.env, ...stage.env },
    secrets: stage.secrets.map((name) => ({ name, version: secrets.get(name) ?? 0 })),
    cpus: stage.resources.cpus,
    threads: threadsOf(stage),
    accelerators: stage.resources.accelerators,
    runner,
    network: stage.network,
    outputs: stage.outputs,
    deterministic: stage.deterministic,
  };
}

/** Files of the commit that enter the stage's code digest, sorted by path. */
export async function digestedEntries(
  mirrors: Pick<Mirrors, 'listTree' | 'readFile'>,
  stage: Pick<Stage, 'code'>,
  { project, commit, config, requirementFiles }: Pick<StageFacts, 'project' | 'commit' | 'config' | 'requirementFiles'>,
): Promise<TreeEntry[]> {
  const entries = await mirrors.listTree(project.id, commit);
  const hasIgnore = entries.some(({ path }) => path === ignoreFile);
  const ignore = hasIgnore ? await mirrors.readFile(project.id, commit, ignoreFile, ignoreBytesMax) : null;
  const scope: Scope = { stage, config, requirementFiles, ignore: ignore?.toString('utf8') ?? null };
  const known = chosen.get(entries) ?? new Map<string, TreeEntry[]>();
  chosen.set(entries, known);
  const key = scopeKey(scope);
  const found = known.get(key) ?? choose(entries, scope);
  known.set(key, found);
  return found;
}

interface Scope {
  stage: Pick<Stage, 'code'>;
  config: ProjectConfig;
  requirementFiles: readonly string[];
  ignore: string | null;
}

/** What was chosen of a tree, for as long as the mirror remembers the tree: stages of one scope have the same files. */
const chosen = new WeakMap<readonly TreeEntry[], Map<string, TreeEntry[]>>();

function scopeKey({ stage, config, requirementFiles, ignore }: Scope): string {
  const { params, requirements, dockerfile, data } = config;
  return JSON.stringify([stage.code, params.file, requirements, dockerfile, data, requirementFiles, ignore]);
}

function choose(entries: readonly TreeEntry[], { stage, config, requirementFiles, ignore }: Scope): TreeEntry[] {
  const all = entries.map((entry) => entry.path);
  const digested = new Set(digestedPaths(config, stageTree(stage, config, all, compileGlob), ignore, ignoreGlob));
  for (const path of requirementFiles) digested.delete(path);
  return entries.filter((entry) => digested.has(entry.path));
}

/**
 * What lies below the environment is part of a result's identity: the base image, or for processes the C library and the
 * Python build. The image of the environment itself differs between engines that made it from the same lock and base.
 */
async function runnerOf(db: Database, environmentKey: string | null): Promise<StageIngredients['runner']> {
  const row = environmentKey === null ? undefined : await getEnvironment(db, environmentKey);
  if (row?.base) return { kind: 'docker', imageDigest: row.base };
  const [os = '', arch = '', libc = ''] = (row?.platform ?? '').split('-');
  return { kind: 'process', platform: `${os}-${arch}`, libc, pythonBuild: row?.python ?? '' };
}

/** Thread counts change floating-point sums, so they are pinned: to the CPUs asked for, else to one per stage. */
export function threadsOf(stage: Stage): number {
  return Math.max(1, Math.floor(stage.resources.cpus ?? 1));
}

function upstreamFile(output: StageFacts['outputs'][number]): UpstreamFile {
  return {
    stage: output.step,
    path: output.path,
    mode: output.executable ? '100755' : '100644',
    sha256: output.sha256,
  };
}
