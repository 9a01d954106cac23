// The command of a project that says nothing: the first of train.py, main.py, src/*/train.py.
import { DomainError } from '#core/errors.ts';
import type { Repository } from './repository.ts';

export interface EntryPoint {
  command: string[];
  env: Record<string, string>;
  /** The script's path in the repository. */
  script: string;
}

const candidatesMax = 12;
const namedMax = 3;
/** Parts of a script's path. */
const depthMax = 4;

/** Throws `no-entry-point` with the candidates and the command to use when there is none, or more than one. */
export async function findEntryPoint(repository: Repository): Promise<EntryPoint> {
  const root = ['train.py', 'main.py'].find((name) => repository.files.includes(name));
  if (root) return { command: ['python', root], env: {}, script: root };
  const [nested, ...others] = repository.files.filter((path) => /^src\/[^/]+\/train\.py$/.test(path)).sort();
  if (nested && others.length === 0) return nestedEntryPoint(repository, nested);
  throw nested ? ambiguous([nested, ...others]) : await missing(repository);
}

// A package is run as a module, so that its own imports work; a plain folder is run as a script.
function nestedEntryPoint(repository: Repository, script: string): EntryPoint {
  const folder = script.split('/')[1] ?? '';
  const isPackage = repository.files.includes(`src/${folder}/__init__.py`) && /^[A-Za-z_]\w*$/.test(folder);
  if (!isPackage) return { command: ['python', script], env: {}, script };
  return { command: ['python', '-m', `${folder}.train`], env: { PYTHONPATH: 'src' }, script };
}

function ambiguous(candidates: string[]): DomainError {
  const list = candidates.slice(0, candidatesMax);
  return new DomainError(
    'no-entry-point',
    `Found ${candidates.length} scripts that could be meant: ${list.join(', ')}; expected one. Say which: assay run -- python ${candidates[0]}, or write an assay.yaml with assay init.`,
    list.map((path) => ({ path, message: 'could be the entry point' })),
  );
}

async function missing(repository: Repository): Promise<DomainError> {
  const candidates = await scripts(repository);
  const found = candidates.length === 0 ? 'no Python script that could be meant' : `only ${namesOf(candidates)}`;
  const example = candidates[0] ?? 'SCRIPT.py';
  const source = repository.files.includes('dvc.yaml') ? ', which reads dvc.yaml' : '';
  return new DomainError(
    'no-entry-point',
    `Found ${found}; expected train.py, main.py or src/*/train.py. Say what to run: assay run -- python ${example}, or write an assay.yaml with assay init${source}.`,
    candidates.map((path) => ({ path, message: 'could be the entry point' })),
  );
}

function namesOf(candidates: string[]): string {
  const named = candidates.slice(0, namedMax).join(', ');
  return candidates.length > namedMax ? `${named} and ${candidates.length - namedMax} more` : named;
}

/** Scripts that do something when they are run: those called after training first, then nearest to the root. */
export async function scripts(repository: Repository): Promise<string[]> {
  const python = repository.files
    .filter((path) => path.endsWith('.py') && depthOf(path) <= depthMax && !notAScript.test(path))
    .sort((a, b) => rankOf(a) - rankOf(b) || depthOf(a) - depthOf(b) || a.localeCompare(b))
    .slice(0, 50);
  const found: string[] = [];
  for (const path of python) {
    const text = found.length < candidatesMax ? await repository.read(path) : null;
    if (text !== null && /^if __name__ == ['"]__main__['"]:/m.test(text)) found.push(path);
  }
  return found.length > 0 ? found : python.filter((path) => !path.includes('/')).slice(0, candidatesMax);
}

function rankOf(path: string): number {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const rank = [/^train\.py$/, /train/, /^(?:main|run)\.py$/].findIndex((pattern) => pattern.test(name));
  return rank === -1 ? 3 : rank;
}

function depthOf(path: string): number {
  return path.split('/').length;
}

const notAScript =
  /(?:^|\/)(?:tests?|docs?|setup\.py|conftest\.py|noxfile\.py|__init__\.py|test_[^/]*|[^/]*_test\.py)(?:\/|$)/;
