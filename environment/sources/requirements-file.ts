import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { isDirectory, pathInTree, readText } from './tree.ts';

/** One requirements.txt with everything it includes. */
export interface RequirementsFile {
  /** Paths in the tree with the lines that matter, in the order of reading. */
  files: readonly { path: string; text: string }[];
  /** `--index-url`, `--extra-index-url`, `--find-links` and `--no-index` lines that hold when installing too. */
  indexLines: readonly string[];
  /** Directories of the tree that are to be installed, such as `.` for `-e .`. */
  packages: readonly string[];
  /** Wheels and source archives of the tree, and directories of them. */
  archives: readonly string[];
  archiveFolders: readonly string[];
  allowsPrereleases: boolean;
  notes: readonly string[];
}

interface Reading {
  root: string;
  files: { path: string; text: string }[];
  indexLines: string[];
  packages: string[];
  archives: string[];
  archiveFolders: string[];
  allowsPrereleases: boolean;
  notes: string[];
}

const archiveEnding = /\.(whl|tar\.gz|tgz|zip|tar\.bz2)$/i;

/**
 * @param path relative to the root of the tree.
 * @throws DomainError for a missing or circular include, a path outside of the tree, or a password in an address.
 */
export async function readRequirementsFile(root: string, path: string): Promise<RequirementsFile> {
  const reading: Reading = {
    root,
    files: [],
    indexLines: [],
    packages: [],
    archives: [],
    archiveFolders: [],
    allowsPrereleases: false,
    notes: [],
  };
  await readInto(reading, path, []);
  return { ...reading, packages: [...new Set(reading.packages)], indexLines: [...new Set(reading.indexLines)] };
}

async function readInto(reading: Reading, path: string, includedBy: readonly string[]): Promise<void> {
  refuseCycle(path, includedBy);
  if (reading.files.some((file) => file.path === path)) return;
  const text = await readText(join(reading.root, path));
  if (text === undefined) throw missing(path, includedBy.at(-1));
  const lines = logicalLines(text);
  reading.files.push({ path, text: lines.join('\n') });
  for (const line of lines) await readLine(reading, path, line, [...includedBy, path]);
}

/** Lines joined at backslashes, without comments and blank lines: the text that pip acts on. */
export function logicalLines(text: string): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .replaceAll(/\\\r?\n/g, ' ')
    .split(/\r?\n/)
    .map((line) =>
      line
        .replace(/(^|\s)#.*$/, '')
        .trim()
        .replaceAll(/\s+/g, ' '),
    )
    .filter((line) => line !== '');
}

async function readLine(reading: Reading, path: string, line: string, chain: readonly string[]): Promise<void> {
  const option = /^(-[a-zA-Z]|--[a-z-]+)(?:[ =]?\s*(.*))?$/.exec(line);
  if (option === null) return await readRequirement(reading, path, line);
  const name = option[1] ?? '';
  const value = (option[2] ?? '').trim();
  switch (name) {
    case '-r':
    case '--requirement':
    case '-c':
    case '--constraint':
      refuseAddress(path, line, value);
      return await readInto(reading, await pathInTree(reading.root, path, value), chain);
    case '-e':
    case '--editable':
      return await readRequirement(reading, path, value);
    case '-i':
    case '--index-url':
    case '--extra-index-url':
      refusePassword(path, value);
      reading.indexLines.push(`${name === '-i' ? '--index-url' : name} ${value}`);
      return;
    case '-f':
    case '--find-links':
      return await readFindLinks(reading, path, value);
    case '--no-index':
      reading.indexLines.push(name);
      return;
    case '--pre':
      reading.allowsPrereleases = true;
      return;
    case '--trusted-host':
      reading.notes.push(`${path}: "${line}" is not followed; trust the host's certificate instead (ASSAY_EXTRA_CA).`);
      return;
    default:
      return;
  }
}

async function readRequirement(reading: Reading, path: string, line: string): Promise<void> {
  const target = localTarget(line);
  if (target === undefined) return await readBareName(reading, path, line);
  const inTree = await pathInTree(reading.root, path, target);
  if (archiveEnding.test(inTree)) reading.archives.push(inTree);
  else reading.packages.push(inTree);
}

/** pip takes `libs/foo` for a directory when there is one. */
async function readBareName(reading: Reading, path: string, line: string): Promise<void> {
  if (/^[a-z+]+:\/\//i.test(line) || line.includes(' @ ')) return;
  const name = line.replace(/\[.*$/, '').split(' ')[0] ?? '';
  if (!name.includes('/')) return;
  const inTree = await pathInTree(reading.root, path, name);
  if (await isDirectory(join(reading.root, inTree))) reading.packages.push(inTree);
}

/** The path in `./libs/foo[extra]`, `.`, `name @ file:libs/foo` or `wheels/x.whl`; undefined for everything else. */
function localTarget(line: string): string | undefined {
  const requirement = line.replace(/\s+--hash.*$/, '').replace(/\s*;.*$/, '');
  const target = requirement.includes(' @ ') ? (requirement.split(' @ ')[1] ?? '') : requirement;
  const plain = target
    .replace(/\[[^\]]*\]$/, '')
    .replace(/#.*$/, '')
    .trim();
  if (/^file:/i.test(plain)) return plain.replace(/^file:(\/\/(localhost)?(?=\/))?/i, '');
  if (/^[a-z+]+:/i.test(plain)) return undefined;
  return /^[./~]/.test(plain) || archiveEnding.test(plain) ? plain : undefined;
}

async function readFindLinks(reading: Reading, path: string, value: string): Promise<void> {
  if (/^https?:/i.test(value)) {
    refusePassword(path, value);
    reading.indexLines.push(`--find-links ${value}`);
    return;
  }
  reading.archiveFolders.push(await pathInTree(reading.root, path, value.replace(/^file:(\/\/)?/i, '')));
}

function refuseCycle(path: string, includedBy: readonly string[]): void {
  if (!includedBy.includes(path)) return;
  const circle = [...includedBy.slice(includedBy.indexOf(path)), path].join(' → ');
  throw new DomainError(
    'environment-unresolvable',
    `Requirement files include each other in a circle: ${circle}. Remove one of these -r or -c lines.`,
    [{ path, message: circle, file: includedBy.at(-1) ?? path }],
  );
}

function refuseAddress(path: string, line: string, value: string): void {
  if (!/^[a-z]+:\/\//i.test(value)) return;
  throw new DomainError(
    'environment-unsupported',
    `${path} includes "${line}", whose content can change without a commit. Commit that file and include it by its path.`,
    [{ path: line, message: 'an address is not pinned', file: path }],
  );
}

function refusePassword(path: string, address: string): void {
  const login = /^https?:\/\/([^/@]+)@/i.exec(address)?.[1];
  if (login === undefined || /^\$\{[A-Z0-9_]+\}(:\$\{[A-Z0-9_]+\})?$/.test(login)) return;
  throw new DomainError(
    'environment-unsupported',
    `${path} has a user name or a password in the address of a package index. Write the address without it and give the credentials to Assay as a secret of that host.`,
    [{ path, message: 'credentials in an address', file: path }],
  );
}

function missing(path: string, includedBy: string | undefined): DomainError {
  const asked = includedBy === undefined ? 'It was asked for' : `${includedBy} includes it`;
  return new DomainError(
    'environment-unresolvable',
    `There is no file ${path} in this commit. ${asked}: commit it, or correct the name.`,
    [{ path, message: 'no such file', file: includedBy ?? path }],
  );
}
