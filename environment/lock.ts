// The lock: every requirement pinned by hash, as text. It is the whole description of an environment's packages.
import { createHash } from 'node:crypto';
import { DomainError } from '#core/errors.ts';

/** A wheel that no index has: built from a git commit or taken from the tree. It travels with the lock. */
export interface LockedWheel {
  filename: string;
  sha256: string;
}

export interface Lock {
  text: string;
  sha256: string;
  wheels: readonly LockedWheel[];
}

/** One requirement as uv prints it. */
export interface LockEntry {
  requirement: string;
  hashes: readonly string[];
}

const firstLine = '# assay lock 1';
const frozenLine = '# packages of the interpreter itself';
const wheelLine = /^# wheel ([0-9a-f]{64}) (\S+)$/;

/** Entries of `uv pip compile` or `uv export` output, without its comments. */
export function parseEntries(output: string): LockEntry[] {
  const joined = output.replaceAll(/\\\r?\n/g, ' ').split(/\r?\n/);
  const lines = joined.map((line) => line.replace(/(^|\s)#.*$/, '').trim()).filter((line) => line !== '');
  return lines.map(parseEntry);
}

/** Build options, such as `--no-binary six`, are lines of their own. */
export function isOption(entry: LockEntry): boolean {
  return entry.requirement.startsWith('--');
}

export function parseEntry(line: string): LockEntry {
  const hashes = [...line.matchAll(/--hash=(sha256:[0-9a-f]{64})/g)].map((found) => found[1] ?? '');
  return { requirement: line.replaceAll(/\s*--hash=\S+/g, '').trim(), hashes };
}

/** @throws DomainError environment-unresolvable for an entry without a hash. */
export function createLock(
  entries: readonly LockEntry[],
  options: readonly string[],
  wheels: readonly LockedWheel[],
): Lock {
  const unhashed = entries.find(({ hashes }) => hashes.length === 0);
  if (unhashed !== undefined) throw notPinned(unhashed.requirement);
  const lines = [
    firstLine,
    ...options,
    ...[...new Set(wheels.map(({ sha256, filename }) => `# wheel ${sha256} ${filename}`))].sort(),
    ...[...new Set(entries.map(entryText))].sort(),
  ];
  return fromText(`${lines.join('\n')}\n`);
}

/** The lock of a project without requirements: a record of what the interpreter itself has installed. */
export function createFrozenLock(packages: readonly string[]): Lock {
  return fromText(`${[firstLine, frozenLine, ...packages.map((name) => `# ${name}`)].join('\n')}\n`);
}

export function isFrozen(lockText: string): boolean {
  return lockText.startsWith(`${firstLine}\n${frozenLine}\n`);
}

/** @throws DomainError environment-unresolvable for text that is not a lock. */
export function readLock(text: string): Lock {
  if (text.startsWith(`${firstLine}\n`)) return fromText(text);
  throw new DomainError('environment-unresolvable', `This is not a lock: it does not start with "${firstLine}".`);
}

function fromText(text: string): Lock {
  const found = text.split('\n').map((line) => wheelLine.exec(line));
  const wheels = found.flatMap((match) =>
    match === null ? [] : [{ sha256: match[1] ?? '', filename: match[2] ?? '' }],
  );
  return { text, sha256: createHash('sha256').update(text).digest('hex'), wheels };
}

function entryText({ requirement, hashes }: LockEntry): string {
  return [requirement, ...[...hashes].sort().map((hash) => `    --hash=${hash}`)].join(' \\\n');
}

function notPinned(requirement: string): DomainError {
  return new DomainError(
    'environment-unresolvable',
    `${requirement} cannot be pinned by a hash. Ask for it by name and version, as a git commit, or as an archive with an address.`,
    [{ path: requirement, message: 'no hash' }],
  );
}
