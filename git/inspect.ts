// Finds what a commit contains that a run could not use as the author expects.
import { ignoreRules } from '#core/code-scope.ts';
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import type { GitOptions } from './command.ts';
import { ignoreFile, ignoreGlob } from './code-digest.ts';
import { collect, readObjects } from './objects.ts';
import { linkRefusal, pathRefusal } from './source-path.ts';
import type { TreeEntry } from './tree.ts';

export interface SourceFinding {
  kind: 'submodule' | 'lfs-pointer' | 'link' | 'path' | 'dvc-pointer';
  path: string;
  message: string;
  /** A refused finding bars the run; the others are notes for the author. */
  refused: boolean;
}

// A pointer is shorter than 1,024 bytes by its specification and holds at least a version, a sha256 and a size.
const pointerBytesMin = 100;
const pointerBytesMax = 1_023;
const linkBytesMax = 4_096;
const ignoreBytesMax = 256 * 1024;
const pointerStart = 'version https://git-lfs.github.com/spec/';
const detailsMax = 20;

async function contents(entries: readonly TreeEntry[], options: GitOptions): Promise<string[]> {
  const found: string[] = [];
  for await (const object of readObjects(
    entries.map((entry) => entry.oid),
    options,
  )) {
    found.push((await collect(object)).toString('utf8'));
  }
  return found;
}

function refused(kind: SourceFinding['kind'], path: string, message: string): SourceFinding {
  return { kind, path, message, refused: true };
}

function submodules(entries: readonly TreeEntry[]): SourceFinding[] {
  const message =
    'is a submodule, and only this repository is fetched; copy its files in, or depend on it as a package';
  return entries.filter((entry) => entry.mode === '160000').map((entry) => refused('submodule', entry.path, message));
}

function paths(entries: readonly TreeEntry[]): SourceFinding[] {
  return entries.flatMap((entry) => {
    const why = pathRefusal(entry.path);
    return why === null ? [] : [refused('path', entry.path, `${why}; rename it`)];
  });
}

async function links(entries: readonly TreeEntry[], options: GitOptions): Promise<SourceFinding[]> {
  const all = entries.filter((entry) => entry.mode === '120000');
  const long = all.filter((entry) => entry.sizeBytes > linkBytesMax);
  const short = all.filter((entry) => entry.sizeBytes <= linkBytesMax);
  const targets = await contents(short, options);
  const leaving = short.flatMap((entry, n) => {
    const why = linkRefusal(entry.path, targets[n] ?? '');
    return why === null ? [] : [refused('link', entry.path, `is a symbolic link that ${why}; remove it`)];
  });
  return [...long.map((entry) => refused('link', entry.path, 'is a symbolic link with an endless target')), ...leaving];
}

async function lfsPointers(
  entries: readonly TreeEntry[],
  isIgnored: (path: string) => boolean,
  options: GitOptions,
): Promise<SourceFinding[]> {
  const small = entries.filter(
    (entry) =>
      entry.mode.startsWith('100') &&
      entry.sizeBytes >= pointerBytesMin &&
      entry.sizeBytes <= pointerBytesMax &&
      !isIgnored(entry.path),
  );
  const texts = await contents(small, options);
  const message =
    'is a Git LFS pointer and not the file itself; commit the file, or add it to a dataset and name it in .assayignore';
  const pointers = small.filter((_, n) => texts[n]?.startsWith(pointerStart));
  return pointers.map((entry) => refused('lfs-pointer', entry.path, message));
}

function dvcPointers(entries: readonly TreeEntry[]): SourceFinding[] {
  const found = entries.filter((entry) => entry.path.endsWith('.dvc') && entry.mode.startsWith('100'));
  const message = 'points to data kept by DVC, which a run does not have; add the data as a dataset';
  return found.map((entry) => ({ kind: 'dvc-pointer', path: entry.path, message, refused: false }));
}

async function readIgnore(entries: readonly TreeEntry[], options: GitOptions): Promise<string> {
  const entry = entries.find((one) => one.path === ignoreFile && one.mode.startsWith('100'));
  if (entry === undefined) return '';
  if (entry.sizeBytes > ignoreBytesMax) {
    throw new DomainError(
      'source-too-large',
      `${ignoreFile} has more than ${ignoreBytesMax} bytes; use folder patterns.`,
    );
  }
  return (await contents([entry], options))[0] ?? '';
}

/** Everything noteworthy in a tree, refused findings first. */
export async function inspectTree(entries: readonly TreeEntry[], options: GitOptions): Promise<SourceFinding[]> {
  const isIgnored = ignoreRules(await readIgnore(entries, options), ignoreGlob);
  return [
    ...submodules(entries),
    ...paths(entries),
    ...(await links(entries, options)),
    ...(await lfsPointers(entries, isIgnored, options)),
    ...dvcPointers(entries),
  ];
}

/** Throws source-refused naming every refused path, or does nothing. */
export function refuseFindings(findings: readonly SourceFinding[]): void {
  const refusals = findings.filter((finding) => finding.refused);
  const [first] = refusals;
  if (first === undefined) return;
  const details: ErrorDetail[] = refusals.slice(0, detailsMax).map(({ path, message }) => ({ path, message }));
  const others = refusals.length === 1 ? '' : ` ${refusals.length - 1} other paths are refused too.`;
  throw new DomainError('source-refused', `${first.path} ${first.message}.${others}`, details);
}
