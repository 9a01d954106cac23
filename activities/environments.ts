// Locks and environments of this machine, over the pure machinery in environment/.
import { createReadStream } from 'node:fs';
import { DomainError } from '#core/errors.ts';
import type { ProjectConfig } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { type EnvironmentRow, findLock, getEnvironment, keepEnvironment, keepLock } from '#db/environments.ts';
import { type EnvironmentContext, inImage } from '#environment/context.ts';
import { type Base, type BaseReference, findBase, selectBase } from '#environment/image/base.ts';
import { type ImageEnvironment, materialiseImage, requirePython } from '#environment/image/environment-image.ts';
import { imagePython } from '#environment/image/image-python.ts';
import { installInStageImage } from '#environment/image/stage-image.ts';
import { type EnvironmentIdentity, environmentIdentity, environmentKey, lockKey } from '#environment/key.ts';
import { type Lock, readLock } from '#environment/lock.ts';
import { materialise, type MaterialisedEnvironment } from '#environment/materialise.ts';
import { type Interpreter, platformName } from '#environment/python/interpreters.ts';
import type { PythonRequest } from '#environment/python/python-request.ts';
import { type SelectedPython, selectInterpreter } from '#environment/python/select-interpreter.ts';
import { installProject } from '#environment/package/install-project.ts';
import { resolve } from '#environment/resolve.ts';
import { findSource, type RequirementSource } from '#environment/sources/find-source.ts';
import { keepWheels } from '#environment/mirror/install-packages.ts';
import { createWheelStore } from './wheel-store.ts';
import { namingDamage } from './damage.ts';
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
    /** Digest of the requirements' texts; null when there are none. */
    requirements: string | null;
    python: string;
    platform: string;
    /** Where stages run in containers: the base, and the image made here, by the engine's own id. */
    base: (BaseReference & { digest: string }) | null;
    image: string | null;
    /** `pinned`: of the run that is reproduced. */
    lock: 'hit' | 'resolved' | 'pinned';
    lockSha256: string;
    resolvedMs: number;
    environment: 'hit' | 'built';
    builtMs: number;
    /** Where its packages came from; null when nothing was installed. */
    from: 'mirror' | 'index' | null;
    /** How many wheels were kept for it or taken from what was kept; null when none were. */
    wheels: number | null;
    notes: string[];
  };
}

/** A lock that an earlier step was made with, and what it answers. */
export type KeptLock = Pick<BuiltEnvironment['facts'], 'lockSha256' | 'requirements' | 'python' | 'platform'>;

/** What a commit says of its environment, and its tree for what is built from it. */
export interface EnvironmentSource {
  config: ProjectConfig;
  openRoot: () => Promise<string>;
}

/** An environment on this machine or on its engine. */
export type SharedEnvironment = MaterialisedEnvironment | ImageEnvironment;

export interface StageEnvironment {
  /** Id of the image that the command runs in; null where stages run as processes. */
  image: string | null;
  /** The virtual environment; null where the packages are an image's own. */
  venv: string | null;
  /** The whole PATH. */
  searchPath: string;
}

export interface Environments {
  /**
   * Resolves the commit's requirements once and materialises the environment here. The lock of `kept` is taken when it
   * answers the same requirements, whatever the index has become.
   */
  build(
    root: string,
    config: ProjectConfig,
    onLine: (line: string) => void,
    kept?: KeptLock | null,
  ): Promise<BuiltEnvironment>;
  /** The environment on this machine, built when it is not here yet. */
  use(environmentKey: string, source: EnvironmentSource, onLine: (line: string) => void): Promise<SharedEnvironment>;
  /**
   * What a stage runs with: the shared environment, under an overlay at `target` when its own tree is a package
   * (`-e .`, src layout), which is installed from the stage's copy without dependencies.
   */
  forStage(shared: SharedEnvironment, stage: StageTree): Promise<StageEnvironment>;
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
  const wheelStore = createWheelStore(deps);

  return {
    async build(root, config, onLine, kept = null) {
      const startedMs = performance.now();
      const source = await findSource(root, { requirements: config.requirements, python: config.python });
      const { context, interpreter, notes } = await openPlace(deps.context, root, config, source, onLine);
      const question = await lockKey(context, source, interpreter);
      // What an interpreter brings by itself is no choice that could be kept.
      const requirements = source.kind === 'none' ? null : source.digest;
      const asked = { requirements, python: interpreter.version, platform: platformName(interpreter.platform) };
      const known = await readKnownLock(deps, keptFor(asked, kept) ?? (await findLock(deps.db, question)));
      const lock =
        known ??
        (await resolveAndKeep(deps, question, () => resolve(context, { root, source, interpreter, onLine }), source));
      const resolvedMs = Math.round(performance.now() - startedMs);
      const base = baseOf(context.base);
      const baseMs = context.base?.builtMs ?? null;
      const identity = environmentIdentity(lock.sha256, interpreter, base?.digest ?? null);
      const key = environmentKey(identity);
      const facts = base === null ? {} : { base };
      await keepEnvironment(deps.db, { ...identity, environmentKey: key, facts }, lock.wheels);
      const request = { environmentKey: key, lock, interpreter, onLine, wheelStore };
      const built = await (base === null ? materialise(context, request) : materialiseImage(context, request));
      const late = built.hit ? await keepWheels(context, { ...request, store: wheelStore }) : [];
      return {
        environmentKey: key,
        identity,
        files: source.files.map(({ path }) => path),
        facts: {
          kind: source.kind,
          file: source.file,
          files: source.files.map(({ path }) => path),
          ...asked,
          base,
          image: 'image' in built ? built.image : null,
          lock: known === null ? 'resolved' : 'hit',
          lockSha256: lock.sha256,
          resolvedMs,
          environment: built.hit && baseMs === null ? 'hit' : 'built',
          builtMs: built.builtMs + (baseMs ?? 0),
          from: built.packages?.from ?? null,
          wheels: built.packages?.wheels ?? null,
          notes: [...source.notes, ...notes, ...(built.packages?.notes ?? late)],
        },
      };
    },

    async forStage(shared, { config, sourceDir, target }) {
      const { packages } = await findSource(sourceDir, { requirements: config.requirements, python: config.python });
      if ('image' in shared) return await installInStageImage(deps.context, shared, { sourceDir, packages, target });
      const { interpreter } = shared;
      const request = { sourceDir, packages, environment: shared, interpreter, target };
      const { path, binDir } = await installProject(deps.context, request);
      return { image: null, venv: path, searchPath: `${binDir}:/usr/local/bin:/usr/bin:/bin` };
    },

    async use(key, source, onLine) {
      const row = await getEnvironment(deps.db, key);
      if (row === undefined) throw new TypeError(`There is no environment ${key}.`);
      const lock = await namingDamage(
        'The lock of this environment',
        'Submit the run again: its requirements are then resolved anew.',
        async () => readLock((await readBlob(deps.store, row.lockSha256)).toString('utf8')),
      );
      const request = { environmentKey: key, lock, onLine, wheelStore };
      const { images } = deps.context;
      if (images === null) {
        if (row.base !== null) throw otherRunner(row.base);
        const asked = { request: `==${row.python}`, from: 'the lock', isExact: true };
        const { interpreter } = await selectInterpreter(deps.context, asked);
        requireSamePlatform(row, interpreter);
        return await materialise(deps.context, { ...request, interpreter });
      }
      const recorded = row.facts.base as BuiltEnvironment['facts']['base'] | undefined;
      if (!recorded) throw otherRunner(null);
      const context = inImage(
        deps.context,
        await findBase({ ...deps.context, images }, recorded, source.openRoot, { onLine }),
      );
      const { interpreter } = await pythonOf(context, { request: null, from: 'the lock' });
      requireSamePython(row, interpreter);
      return await materialiseImage(context, { ...request, interpreter });
    },
  };
}

interface Place {
  context: EnvironmentContext;
  interpreter: Interpreter;
  notes: readonly string[];
}

/** Where the commands of an environment run and its stages will: on this machine, or in containers of the base image. */
async function openPlace(
  given: EnvironmentContext,
  root: string,
  { image, dockerfile }: ProjectConfig,
  source: RequirementSource,
  onLine: (line: string) => void,
): Promise<Place> {
  const { images } = given;
  if (images === null) return { context: given, ...(await selectInterpreter(given, source.python)) };
  const base = await selectBase({ ...given, images }, { root, image, dockerfile, python: source.python }, { onLine });
  const context = inImage(given, base);
  const selected = await pythonOf(context, source.python);
  if (source.kind !== 'none') requirePython(base, selected.interpreter);
  return { context, ...selected };
}

async function pythonOf(context: EnvironmentContext, request: PythonRequest): Promise<SelectedPython> {
  if (context.base === null) throw new TypeError('only an image is asked for its Python');
  return await imagePython(context, context.base, request);
}

function baseOf(base: Base | null): BuiltEnvironment['facts']['base'] {
  return base && { kind: base.kind, reference: base.reference, digest: base.digest };
}

/** A Dockerfile that installs Python by a name that moves gives another one on another node. */
function requireSamePython({ python, platform }: EnvironmentRow, interpreter: Interpreter): void {
  if (interpreter.version === python && platformName(interpreter.platform) === platform) return;
  throw new DomainError(
    'environment-unsupported',
    `This run was made with Python ${python} on ${platform}; its base image has Python ${interpreter.version} on ${platformName(interpreter.platform)} on this node. Pin what the Dockerfile builds from by digest, or push the image and name it with \`image:\`.`,
  );
}

function requireSamePlatform({ platform }: EnvironmentRow, interpreter: Interpreter): void {
  const here = platformName(interpreter.platform);
  if (here === platform) return;
  throw new DomainError(
    'environment-unsupported',
    `The environment of this run is for ${platform}, and this node is ${here}. Give the pool nodes of one platform, or run stages in containers.`,
  );
}

function otherRunner(base: string | null): DomainError {
  const [made, here] = base === null ? ['for processes', 'in containers'] : ['in an image', 'as processes'];
  return new DomainError(
    'environment-unsupported',
    `The environment of this run was made ${made}, and this node runs stages ${here}. Give all workers the same ASSAY_RUNNER, and submit the run again.`,
  );
}

function keptFor(asked: Omit<KeptLock, 'lockSha256'>, kept: KeptLock | null): string | null {
  if (kept === null || asked.requirements === null) return null;
  const isSame =
    kept.requirements === asked.requirements && kept.python === asked.python && kept.platform === asked.platform;
  return isSame ? kept.lockSha256 : null;
}

async function readKnownLock(deps: EnvironmentDeps, sha256: string | null): Promise<Lock | null> {
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
