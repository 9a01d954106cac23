// Which packages two locks differ in.
import { parseEntries } from './lock.ts';

/** Null where one lock lacks the package. */
export interface PackageChange {
  name: string;
  before: string | null;
  after: string | null;
}

/** By name. Equal versions from other files, such as a wheel that was built again, are a change of their hashes. */
export function packageChanges(before: string, after: string): PackageChange[] {
  const [a, b] = [packagesOf(before), packagesOf(after)];
  const names = [...new Set([...a.keys(), ...b.keys()])].sort();
  return names.flatMap((name) => {
    const [from, to] = [a.get(name), b.get(name)];
    if (from?.version !== to?.version) return [{ name, before: from?.version ?? null, after: to?.version ?? null }];
    if (from === undefined || to === undefined || from.files === to.files) return [];
    return [{ name, before: `${from.version} (${from.files})`, after: `${to.version} (${to.files})` }];
  });
}

/** The hashes as one short text, enough to see that they are others. */
function packagesOf(lockText: string): Map<string, { version: string; files: string }> {
  const entries = parseEntries(lockText).map(({ requirement, hashes }) => ({
    requirement,
    files: [...hashes]
      .sort()
      .map((hash) => hash.slice(7, 15))
      .join(' '),
  }));
  // A record of what the interpreter itself has is all comments.
  const frozen = [...lockText.matchAll(/^# ([\w.-]+)(==| @ )(\S+)$/gm)].map(([, name, sign, version]) => ({
    requirement: `${name}${sign}${version}`,
    files: '',
  }));
  const wheels = [...lockText.matchAll(/^# wheel ([0-9a-f]{64}) (\S+)$/gm)].map(([, sha256 = '', filename = '']) => [
    `wheel ${filename}`,
    { version: sha256.slice(0, 12), files: '' },
  ]) as Array<[string, { version: string; files: string }]>;
  const packages = [...entries, ...frozen].map(
    ({ requirement, files }): [string, { version: string; files: string }] => {
      const [, name = requirement, marked = ''] = /^([\w.-]+(?:\[[^\]]*\])?)\s*(.*)$/.exec(requirement) ?? [];
      return [name.toLowerCase(), { version: marked.replace(/^==\s*/, '') || 'unpinned', files }];
    },
  );
  return new Map([...packages, ...wheels]);
}
