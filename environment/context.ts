import { join } from 'node:path';
import type { Base } from '#environment/image/base.ts';
import type { ImageSettings } from '#environment/image/engine.ts';
import {
  childEnvironment,
  type IndexSettings,
  indexArguments,
  indexEnvironment,
} from '#environment/process/child-environment.ts';

/** What every part of this folder is told once, by whoever reads the configuration. */
export interface EnvironmentOptions {
  /**
   * Absolute path of a directory of this machine: environments, wheels, uv and its cache. Other users must be
   * able to pass through it when stages run as another user.
   */
  cacheDir: string;
  /** The variables of the process; only proxies, certificates, compilers and index settings are passed on. */
  variables: Readonly<Record<string, string | undefined>>;
  /** Name or path of the Python that is taken when a project asks for none. Default `python3`. */
  python?: string;
  /** A uv to use; refused when it is not the pinned version. */
  uvPath?: string | null;
  index?: IndexSettings;
  /** PEM file with further certificate authorities. */
  extraCaFile?: string | null;
  /** False never downloads a Python that this machine lacks. Default true. */
  pythonDownloads?: boolean;
  /**
   * The account that resolves, builds and installs for a process of root: what a package runs while it is built then
   * reaches neither this server's files nor those of stages. Null runs it as this process.
   */
  builder?: Builder | null;
  /** Which transports git requirements may use, in git's notation. Default `https:ssh`. */
  gitProtocols?: string;
  /** What makes environments into images; null makes virtual environments of this machine. */
  images?: ImageSettings | null;
}

export interface Builder {
  uid: number;
  gid: number;
}

export interface EnvironmentContext {
  cacheDir: string;
  images: ImageSettings | null;
  /** The image in whose containers everything runs that may run code of packages; null is this machine itself. */
  base: Base | null;
  builder: Builder | null;
  preferredPython: string;
  uvPath: string | null;
  pythonDownloads: boolean;
  index: IndexSettings;
  /** Variables for tools that need no index. */
  env: Readonly<Record<string, string>>;
  /** Variables for the installing processes: the only place where index credentials live. */
  installingEnv: Readonly<Record<string, string>>;
  /** Arguments that name the indexes; none is secret. */
  indexArguments: readonly string[];
  counters: EnvironmentCounters;
}

/** How often the slow things happened in this process. */
export interface EnvironmentCounters {
  resolves: number;
  builds: number;
  hits: number;
  wheelBuilds: number;
  projectBuilds: number;
}

export function createContext(options: EnvironmentOptions): EnvironmentContext {
  const env = { ...childEnvironment(options.variables), ...extraCertificates(options.extraCaFile ?? null) };
  const index = options.index ?? {};
  return {
    cacheDir: options.cacheDir,
    images: options.images ?? null,
    base: null,
    builder: options.builder ?? null,
    preferredPython: options.python ?? 'python3',
    uvPath: options.uvPath ?? null,
    pythonDownloads: options.pythonDownloads ?? true,
    index,
    env,
    installingEnv: {
      ...env,
      ...indexEnvironment(index, env),
      // Nothing that a package could have written configures a program of this process.
      ...(options.builder ? { HOME: '/nonexistent', USER: 'assay-build' } : {}),
      UV_CACHE_DIR: uvCacheDir(options.cacheDir),
      UV_PYTHON_INSTALL_DIR: pythonsDir(options.cacheDir),
      UV_NO_PROGRESS: '1',
      NO_COLOR: '1',
      GIT_ALLOW_PROTOCOL: options.gitProtocols ?? 'https:ssh',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      PYTHONNOUSERSITE: '1',
      // A commit's tree has no git history, so a package that takes its version from tags is given one.
      SETUPTOOLS_SCM_PRETEND_VERSION: unknownVersion,
      POETRY_DYNAMIC_VERSIONING_BYPASS: unknownVersion,
    },
    indexArguments: indexArguments(index),
    counters: { resolves: 0, builds: 0, hits: 0, wheelBuilds: 0, projectBuilds: 0 },
  };
}

/** The same context with everything that may run code of packages in containers of an image. */
export function inImage(context: EnvironmentContext, base: Base | null): EnvironmentContext {
  return { ...context, base };
}

/** The version of a package whose own version is only known to git. */
export const unknownVersion = '0.0.0';

/** What uv compiled in one image may lack a library in another, so each base image has a cache of its own. */
export function uvCacheDir(cacheDir: string, base: Pick<Base, 'digest'> | null = null): string {
  if (base === null) return join(cacheDir, 'uv-cache');
  return join(cacheDir, 'images', 'uv-cache', base.digest.replace('sha256:', '').slice(0, 32));
}

export function pythonsDir(cacheDir: string): string {
  return join(cacheDir, 'pythons');
}

/** Wheels that no index has, by digest. */
export function wheelsDir(cacheDir: string): string {
  return join(cacheDir, 'wheels');
}

export function locksDir(cacheDir: string): string {
  return join(cacheDir, 'locks');
}

function extraCertificates(file: string | null): Record<string, string> {
  return file === null ? {} : { SSL_CERT_FILE: file, PIP_CERT: file, REQUESTS_CA_BUNDLE: file, GIT_SSL_CAINFO: file };
}
