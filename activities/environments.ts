// Locks and environments of this machine, over the pure machinery in environment/.
import { createReadStream } from 'node:fs';
import type { ProjectConfig } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { findLock, getEnvironment, keepEnvironment, keepLock } from '#db/environments.ts';
import type { EnvironmentContext } from '#environment/context.ts';
import { type EnvironmentIdentity, environmentIdentity, environmentKey, lockKey } from '#environment/key.ts';
import { type Lock, readLock } from '#environment/lock.ts';
import { materialise, type MaterialisedEnvironment } from '#environment/materialise.ts';
import { selectInterpreter } from '#environment/python/select-interpreter.ts';
import { installProject, type ProjectEnvironment } from '#environment/package/install-project.ts';
import { resolve } from '#environment/resolve.ts';
import { findSource } from '#environment/sources/find-source.ts';
import { wheelPath } from '#environment/uv/built-wheels.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob, readBlob } from '#storage/keep.ts';

export interface BuiltEnvironment {
  environmentKey: string;
  identity: EnvironmentIdentity;
  /** Requirement files that entered the lock. */
  files: string[];
  facts: {
    kind: string;
    /** The file it was resolved from; null when the project has none. */
    file: string | null;
    files: string[];
    python: string;
    platform: string;
    lock: 'hit' | 'resolved';
    lockSha256: string;
    resolvedMs: number;
    environment: 'hit' | 'built';
    builtMs: number;
    notes: string[];
  };
}

export interface Environments {
  /** Resolves the commit's requirements once and materialises the environment here. */
  build(root: string, config: ProjectConfig, onLine: (line: string) => void): Promise<BuiltEnvironment>;
  /** The environment on this machine, built when it is not here yet. */
  use(environmentKey: string, onLine: (line: string) => void): Promise<MaterialisedEnvironment>;
  /**
   * What a stage runs with: the shared environment, under an overlay at `target` when its own tree is a package
   * (`-e .`, src layout), which is installed from the stage's copy without dependencies.
   */
  forStage(shared: MaterialisedEnvironment, stage: StageTree): Promise<ProjectEnvironment>;
}

export interface StageTree {
  config: ProjectConfig;
  /** The stage's own copy of the tree. */
  sourceDir: string;
  /** Does not exist yet. */
  target: string;
}

export interface EnvironmentDeps {
  db: Database;
  store: BlobStore;
  context: EnvironmentContext;
}

export function createEnvironments(deps: EnvironmentDeps): Environments {
  const { context } = deps;
  const fetchWheel = async (wheel: { sha256: string }, path: string) => {
    await deps.store.copyTo(wheel.sha256, path);
  };

  return {
    async build(root, config, onLine) {
      const startedMs = performance.now();
      const source = await findSource(root, { requirements: config.requirements, python: config.python });
      const { interpreter, notes } = await selectInterpreter(context, source.python);
      const question = await lockKey(context, source, interpreter);
      const known = await readKnownLock(deps, question);
      const lock =
        known ??
        (await resolveAndKeep(deps, question, () => resolve(context, { root, source, interpreter, onLine }), source));
      const resolvedMs = Math.round(performance.now() - startedMs);
      const identity = environmentIdentity(lock.sha256, interpreter);
      const key = environmentKey(identity);
      await keepEnvironment(deps.db, { ...identity, environmentKey: key });
      const built = await materialise(context, { environmentKey: key, lock, interpreter, onLine, fetchWheel });
      return {
        environmentKey: key,
        identity,
        files: source.files.map(({ path }) => path),
        facts: {
          kind: source.kind,
          file: source.file,
          files: source.files.map(({ path }) => path),
          python: interpreter.version,
          platform: identity.platform,
          lock: known === null ? 'resolved' : 'hit',
          lockSha256: lock.sha256,
          resolvedMs,
          environment: built.hit ? 'hit' : 'built',
          builtMs: built.builtMs,
          notes: [...source.notes, ...notes],
        },
      };
    },

    async forStage(shared, { config, sourceDir, target }) {
      const { packages } = await findSource(sourceDir, { requirements: config.requirements, python: config.python });
      const { interpreter } = shared;
      return await installProject(context, { sourceDir, packages, environment: shared, interpreter, target });
    },

    async use(key, onLine) {
      const row = await getEnvironment(deps.db, key);
      if (row === undefined) throw new TypeError(`There is no environment ${key}.`);
      const lock = readLock((await readBlob(deps.store, row.lockSha256)).toString('utf8'));
      const request = { request: `==${row.python}`, from: 'the lock', isExact: true };
      const { interpreter } = await selectInterpreter(context, request);
      return await materialise(context, { environmentKey: key, lock, interpreter, onLine, fetchWheel });
    },
  };
}

async function readKnownLock(deps: EnvironmentDeps, question: string): Promise<Lock | null> {
  const sha256 = await findLock(deps.db, question);
  return sha256 === null ? null : readLock((await readBlob(deps.store, sha256)).toString('utf8'));
}

/** A wheel that no index has travels with the lock: its bytes are kept before the lock that names them. */
async function resolveAndKeep(
  deps: EnvironmentDeps,
  question: string,
  ask: () => Promise<Lock>,
  source: { kind: string; digest: string },
): Promise<Lock> {
  const lock = await ask();
  for (const wheel of lock.wheels)
    await keepBlob(deps.db, deps.store, createReadStream(wheelPath(deps.context, wheel)));
  const { sha256 } = await keepBlob(deps.db, deps.store, Buffer.from(lock.text));
  const kept = await keepLock(deps.db, {
    lockKey: question,
    lockSha256: sha256,
    source: { kind: source.kind, digest: source.digest },
  });
  return kept === sha256 ? lock : readLock((await readBlob(deps.store, kept)).toString('utf8'));
}
