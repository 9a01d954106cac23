// Mirrors that keep what git answered about the last few commits: a commit never changes and nothing is ever pruned, so
// an answer about one stays true. That something is missing, or anything that failed, is asked again.
import type { Mirrors } from './mirror.ts';
import { isFullHash } from './reference.ts';

const commitsMax = 16;
/** Trees and files beyond these are asked for again, so that what is kept stays within some tens of MiB. */
const treeFilesMax = 20_000;
const fileBytesMax = 256 * 1024;

type Facts = Map<string, unknown>;

/** Answers what is kept, else asks and keeps the answer where `isKept` says so. */
async function ask<T>(
  facts: Facts,
  name: string,
  find: () => Promise<T>,
  isKept: (found: T) => boolean = () => true,
): Promise<T> {
  if (facts.has(name)) return facts.get(name) as T;
  const found = await find();
  if (isKept(found)) facts.set(name, found);
  return found;
}

/** The facts of each commit; those of the commit asked about longest ago make room. */
function createShelf() {
  const shelf = new Map<string, Facts>();
  return (projectId: string, commit: string): Facts => {
    const key = `${projectId} ${commit}`;
    const facts = shelf.get(key) ?? new Map<string, unknown>();
    shelf.delete(key);
    shelf.set(key, facts);
    const [oldest] = shelf.keys();
    if (shelf.size > commitsMax && oldest !== undefined) shelf.delete(oldest);
    return facts;
  };
}

export function rememberCommits(mirrors: Mirrors): Mirrors {
  const factsOf = createShelf();
  return {
    ...mirrors,
    hasCommits: async (projectId, shas) => {
      const [sha] = shas;
      const find = () => mirrors.hasCommits(projectId, shas);
      if (sha === undefined || shas.length > 1) return await find();
      return await ask(factsOf(projectId, sha), 'exists', find, (found) => found.length > 0);
    },
    resolve: async (projectId, reference) => {
      const find = () => mirrors.resolve(projectId, reference);
      return isFullHash(reference) ? await ask(factsOf(projectId, reference), 'commit', find) : await find();
    },
    pin: async (projectId, commit) =>
      await ask(factsOf(projectId, commit), 'pinned', () => mirrors.pin(projectId, commit)),
    listTree: async (projectId, commit) => {
      const find = () => mirrors.listTree(projectId, commit);
      return await ask(factsOf(projectId, commit), 'tree', find, (entries) => entries.length <= treeFilesMax);
    },
    inspectSource: async (projectId, commit, entries) => {
      const find = () => mirrors.inspectSource(projectId, commit, entries);
      return await ask(factsOf(projectId, commit), 'findings', find);
    },
    readFile: async (projectId, commit, path, sizeBytesMax) => {
      const name = `file ${sizeBytesMax} ${path}`;
      const find = () => mirrors.readFile(projectId, commit, path, sizeBytesMax);
      return await ask(factsOf(projectId, commit), name, find, (file) => file !== null && file.length <= fileBytesMax);
    },
  };
}
