// Which files a stage produced, from what its directory held before and after.
import { declaredPathMatches, type CompileGlob } from './glob.ts';

/** Relative path → a stamp that changes whenever the file may have changed (size, modification time, inode). */
export type Listing = ReadonlyMap<string, string>;

export interface CollectedOutputs {
  /** Sorted. */
  paths: string[];
  /** Declared outputs that matched nothing new or changed. */
  missing: string[];
}

/**
 * New and changed files, caches excepted. With declared outputs only those, plus `alsoKept` (models and metrics files
 * of the project), which are never missing here.
 */
export function collectOutputs(
  declared: readonly string[],
  alsoKept: readonly string[],
  before: Listing,
  after: Listing,
  compileGlob: CompileGlob,
): CollectedOutputs {
  const changed = [...after].flatMap(([path, stamp]) => (before.get(path) === stamp ? [] : [path])).sort();
  if (declared.length === 0) return { paths: changed.filter((path) => !isCache(path)), missing: [] };
  const wanted = declared.map((output) => ({ output, matches: declaredPathMatches(output, compileGlob) }));
  const kept = alsoKept.map((path) => declaredPathMatches(path, compileGlob));
  return {
    paths: changed.filter(
      (path) => wanted.some(({ matches }) => matches(path)) || kept.some((matches) => matches(path)),
    ),
    missing: wanted.filter(({ matches }) => !changed.some(matches)).map(({ output }) => output),
  };
}

/** Two stages that give one path; the second would silently replace the first for whoever needs both. */
export function findOutputClash(
  outputs: ReadonlyMap<string, readonly string[]>,
): { path: string; stages: [string, string] } | null {
  const owners = new Map<string, string>();
  for (const [stage, paths] of outputs) {
    for (const path of paths) {
      const owner = owners.get(path);
      if (owner !== undefined && owner !== stage) return { path, stages: [owner, stage] };
      owners.set(path, stage);
    }
  }
  return null;
}

const cacheFolders = new Set([
  '__pycache__',
  '.git',
  '.venv',
  'venv',
  'node_modules',
  '.cache',
  '.pytest_cache',
  '.mypy_cache',
  '.ruff_cache',
  '.numba_cache',
  '.ipynb_checkpoints',
  '.matplotlib',
  '.triton',
  '.eggs',
]);

/** Caches are rebuilt by whoever needs them; they are never outputs unless named. */
export function isCache(path: string): boolean {
  const parts = path.split('/');
  const file = parts.at(-1) ?? '';
  if (/\.py[co]$/.test(file) || file === '.DS_Store') return true;
  return parts.slice(0, -1).some((folder) => cacheFolders.has(folder) || folder.endsWith('.egg-info'));
}
