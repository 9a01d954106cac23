// Which packages two locks differ in.
import { lockedPackages } from './locked-packages.ts';

/** Null where one lock lacks the package. */
export interface PackageChange {
  name: string;
  before: string | null;
  after: string | null;
}

/** By name. Empty when the locks differ in hashes or options only. */
export function packageChanges(before: string, after: string): PackageChange[] {
  const versions = (lock: string) => new Map(lockedPackages(lock).map(({ name, version }) => [name, version]));
  const [a, b] = [versions(before), versions(after)];
  return [...new Set([...a.keys(), ...b.keys()])].sort().flatMap((name) => {
    const [from, to] = [a.get(name) ?? null, b.get(name) ?? null];
    return from === to ? [] : [{ name, before: from, after: to }];
  });
}
