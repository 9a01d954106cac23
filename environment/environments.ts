// Requirements of a commit → lock → virtual environment. What lives here knows nothing of runs, databases or
// blobs; what is resolved is kept by the caller, what is installed is kept below `cacheDir`.
import { createContext, type EnvironmentCounters, type EnvironmentOptions } from './context.ts';
import { environmentIdentity, environmentKey, lockKey } from './key.ts';
import { createLocalVenv, type LocalVenvRequest } from './local.ts';
import type { Lock } from './lock.ts';
import { type MaterialisedEnvironment, type MaterialiseRequest, materialise } from './materialise.ts';
import {
  installProject,
  type InstallProjectRequest,
  type ProjectEnvironment,
} from '#environment/package/install-project.ts';
import type { LineListener } from '#environment/process/command.ts';
import { sweepWork } from '#environment/process/work-directory.ts';
import type { Interpreter, Platform } from '#environment/python/interpreters.ts';
import type { PythonRequest } from '#environment/python/python-request.ts';
import {
  installedInterpreters,
  type SelectedPython,
  selectInterpreter,
} from '#environment/python/select-interpreter.ts';
import { findSource, type RequirementSource, type SourceChoice } from '#environment/sources/find-source.ts';
import { installUv, type Uv } from '#environment/uv/install-uv.ts';
import { wheelPath } from '#environment/uv/built-wheels.ts';
import { type ResolveRequest, resolve } from './resolve.ts';

export interface Environments {
  /** Reads a checkout; nothing is executed or installed. */
  findSource(root: string, choice?: SourceChoice): Promise<RequirementSource>;
  selectPython(request: PythonRequest): Promise<SelectedPython>;
  installedPythons(): Promise<Interpreter[]>;
  installUv(onLine?: LineListener): Promise<Uv>;
  /** Equal key, equal lock: the caller keeps the lock by it. */
  lockKey(source: RequirementSource, interpreter: Interpreter, platform?: Platform): Promise<string>;
  resolve(request: ResolveRequest): Promise<Lock>;
  environmentKey(lock: Lock, interpreter: Interpreter): string;
  materialise(request: MaterialiseRequest): Promise<MaterialisedEnvironment>;
  installProject(request: InstallProjectRequest): Promise<ProjectEnvironment>;
  createLocalVenv(request: LocalVenvRequest): Promise<string>;
  /** Removes what killed processes left: call it at start. */
  sweep(): Promise<void>;
  /** Where a wheel of a lock lies after `resolve`, for keeping it as a blob. */
  wheelPath(wheel: Lock['wheels'][number]): string;
  readonly counters: Readonly<EnvironmentCounters>;
}

export function createEnvironments(options: EnvironmentOptions): Environments {
  const context = createContext(options);
  return {
    findSource,
    selectPython: (request) => selectInterpreter(context, request),
    installedPythons: () => installedInterpreters(context),
    installUv: (onLine) => installUv(context, onLine),
    lockKey: (source, interpreter, platform) => lockKey(context, source, interpreter, platform),
    resolve: (request) => resolve(context, request),
    environmentKey: (lock, interpreter) => environmentKey(environmentIdentity(lock.sha256, interpreter)),
    materialise: (request) => materialise(context, request),
    installProject: (request) => installProject(context, request),
    createLocalVenv: (request) => createLocalVenv(context, request),
    sweep: () => sweepWork(context.cacheDir),
    wheelPath: (wheel) => wheelPath(context, wheel),
    counters: context.counters,
  };
}
