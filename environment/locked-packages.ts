// Which packages a lock holds, for comparing two locks.
import { isFrozen, isOption, parseEntries } from './lock.ts';

export interface LockedPackage {
  /** In the index's own spelling: lower case, dashes. */
  name: string;
  /** A version, or the address a package was built from. */
  version: string;
}

const pinned = /^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:===?\s*([^\s;]+)|@\s*(\S+))/;

/** Sorted by name. A package built from a commit or the tree has its address or file as the version. */
export function lockedPackages(lockText: string): LockedPackage[] {
  const entries = isFrozen(lockText)
    ? lockText
        .split('\n')
        .slice(2)
        .map((line) => line.replace(/^# /, ''))
    : parseEntries(lockText)
        .filter((entry) => !isOption(entry))
        .map(({ requirement }) => requirement);
  return entries
    .flatMap((text): LockedPackage[] => {
      const [, name, version, address] = pinned.exec(text) ?? [];
      return name === undefined ? [] : [{ name: normalised(name), version: version ?? address ?? '' }];
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function normalised(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, '-');
}
