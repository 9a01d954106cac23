// What the mirrors say about the last few commits, kept: a commit never changes, and a sweep submits one many times.
import type { Mirrors } from '#git/mirror.ts';

export type CommitReader = Pick<Mirrors, 'hasCommits' | 'listTree' | 'readFile' | 'inspectSource'>;

const commitsMax = 16;

/** Only answers that can not change are kept: that a commit is missing, or anything that failed, is asked again. */
export function createCommitCache(mirrors: Mirrors): CommitReader {
  const commits = new Map<string, Map<string, Promise<unknown>>>();

  function factsOf(projectId: string, commit: string): Map<string, Promise<unknown>> {
    const key = `${projectId} ${commit}`;
    const facts = commits.get(key) ?? new Map<string, Promise<unknown>>();
    // The one used longest ago comes first.
    commits.delete(key);
    commits.set(key, facts);
    for (const oldest of [...commits.keys()].slice(0, Math.max(0, commits.size - commitsMax))) commits.delete(oldest);
    return facts;
  }

  function remember<T>(facts: Map<string, Promise<unknown>>, name: string, find: () => Promise<T>): Promise<T> {
    const known = facts.get(name) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const found = find();
    facts.set(name, found);
    found.catch(() => facts.delete(name));
    return found;
  }

  return {
    async hasCommits(projectId, shas) {
      const unknown = shas.filter((sha) => !commits.get(`${projectId} ${sha}`)?.has('exists'));
      const found = new Set(unknown.length === 0 ? [] : await mirrors.hasCommits(projectId, unknown));
      for (const sha of found) factsOf(projectId, sha).set('exists', Promise.resolve(true));
      return shas.filter((sha) => found.has(sha) || !unknown.includes(sha));
    },
    listTree: (projectId, commit) =>
      remember(factsOf(projectId, commit), 'tree', () => mirrors.listTree(projectId, commit)),
    inspectSource: (projectId, commit, entries) =>
      remember(factsOf(projectId, commit), 'findings', () => mirrors.inspectSource(projectId, commit, entries)),
    readFile: (projectId, commit, path, sizeBytesMax) =>
      remember(factsOf(projectId, commit), `file ${sizeBytesMax} ${path}`, () =>
        mirrors.readFile(projectId, commit, path, sizeBytesMax),
      ),
  };
}
