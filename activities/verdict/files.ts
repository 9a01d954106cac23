// Whether two lists of files are the same by content: archives member by member, descriptions without ids and times.
import { join } from 'node:path';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import { differingLines } from '#core/line-difference.ts';
import { readBlob } from '#storage/keep.ts';
import { type Archive, readArchive } from './archives.ts';
import { isNormalised, normalForm, normalisedBytesMax } from './normal-form.ts';
import type { VerdictDeps } from './deps.ts';

/** Texts up to this size are shown line by line. */
const textBytesMax = 64 * 1024;
const linesMax = 8;
/** Larger archives are compared as plain bytes: their bytes are copied to this machine before they are read. */
const archiveBytesMax = 64 * 1024 ** 3;
/** Files that are looked into; when so many differ, the rest is told by its digests. */
const lookedIntoMax = 100;
const membersShownMax = 6;

export interface ComparedFile {
  path: string;
  sha256: string;
  sizeBytes: number;
}

export interface FilesDifference {
  /** Equal once what `notes` name is left out. */
  equal: boolean;
  /** Every file has the same bytes. */
  sameBytes: boolean;
  /** Paths that either side has. */
  files: number;
  /** Paths that differ, sorted. */
  differing: string[];
  /** Readable lines, a file's first line before those of its content. */
  differences: string[];
  notes: string[];
}

/** Files of equal sha256 are never read. */
export async function compareFiles(
  deps: VerdictDeps,
  before: readonly ComparedFile[],
  after: readonly ComparedFile[],
): Promise<FilesDifference> {
  const [a, b] = [new Map(before.map((file) => [file.path, file])), new Map(after.map((file) => [file.path, file]))];
  const paths = [...new Set([...a.keys(), ...b.keys()])].sort();
  const unequal = paths.filter((path) => a.get(path)?.sha256 !== b.get(path)?.sha256);
  const differing: string[] = [];
  const differences: string[] = [];
  const leftOut = new Set<string>();
  const notes: string[] = [];
  let lookedInto = 0;
  for (const path of unequal) {
    const [from, to] = [a.get(path), b.get(path)];
    const found =
      from === undefined || to === undefined
        ? alone(path, from === undefined ? 'reproduction' : 'original')
        : lookedInto++ < lookedIntoMax
          ? await comparePair(deps, from, to)
          : otherBytes(from, to);
    for (const text of found.leftOut) leftOut.add(text);
    notes.push(...found.notes);
    if (found.equal) continue;
    differing.push(path);
    differences.push(...found.lines);
  }
  return {
    equal: differing.length === 0,
    sameBytes: unequal.length === 0,
    files: paths.length,
    differing,
    differences,
    notes: [...(leftOut.size === 0 ? [] : [`Left out: ${[...leftOut].join('; ')}.`]), ...notes],
  };
}

interface Found {
  equal: boolean;
  lines: string[];
  leftOut: readonly string[];
  notes: readonly string[];
}

const nothingLeftOut = { leftOut: [], notes: [] };

function alone(path: string, side: string): Found {
  return { equal: false, lines: [`${path}: only the ${side} wrote it`], ...nothingLeftOut };
}

function otherBytes(a: ComparedFile, b: ComparedFile, more: string[] = [], notes: string[] = []): Found {
  const size = a.sizeBytes === b.sizeBytes ? `${a.sizeBytes} bytes` : `${a.sizeBytes} → ${b.sizeBytes} bytes`;
  const lines = [
    `${a.path}: other bytes (${size}, sha256 ${a.sha256.slice(0, 12)} → ${b.sha256.slice(0, 12)})`,
    ...more,
  ];
  return { equal: false, lines, leftOut: [], notes };
}

async function comparePair(deps: VerdictDeps, a: ComparedFile, b: ComparedFile): Promise<Found> {
  try {
    if (isNormalised(a.path, null) && Math.max(a.sizeBytes, b.sizeBytes) <= normalisedBytesMax)
      return await compareDescriptions(deps, a, b);
    return (await compareArchives(deps, a, b)) ?? otherBytes(a, b, await textLines(deps, a, b));
  } catch (error) {
    // A blob that is gone or damaged is named and not used; its digest still tells that the bytes are others.
    if (!(error instanceof DomainError)) throw error;
    return otherBytes(a, b, [], [`${a.path} was compared by its digests only: ${error.message}`]);
  }
}

async function compareDescriptions(deps: VerdictDeps, a: ComparedFile, b: ComparedFile): Promise<Found> {
  const [before, after] = [await readBlob(deps.store, a.sha256), await readBlob(deps.store, b.sha256)];
  const forms = [normalForm(a.path, before), normalForm(a.path, after)] as const;
  if (forms[0] === null || forms[1] === null) return otherBytes(a, b, await textLines(deps, a, b));
  const leftOut = [forms[0].leftOut];
  if (forms[0].text === forms[1].text) return { equal: true, lines: [], leftOut, notes: [] };
  const lines = differingLines(forms[0].text, forms[1].text, linesMax);
  return { ...otherBytes(a, b, indented(lines)), leftOut };
}

/** Null when one of them is no archive, so that there is nothing more to say than that the bytes differ. */
async function compareArchives(deps: VerdictDeps, a: ComparedFile, b: ComparedFile): Promise<Found | null> {
  if (Math.max(a.sizeBytes, b.sizeBytes) > archiveBytesMax) {
    return (await mayBeArchive(deps, a))
      ? otherBytes(a, b, [], [`${a.path} is larger than ${archiveBytesMax} bytes and was compared as plain bytes.`])
      : null;
  }
  if (!(await mayBeArchive(deps, a)) || !(await mayBeArchive(deps, b))) return null;
  const before = await openArchive(deps, a);
  const after = before === null || typeof before === 'string' ? null : await openArchive(deps, b);
  const [refusal] = [before, after].filter((found) => typeof found === 'string');
  if (refusal !== undefined) return otherBytes(a, b, [], [`${a.path} was compared as plain bytes: ${refusal}.`]);
  if (before === null || after === null || typeof before === 'string' || typeof after === 'string') return null;
  if (before.kind !== after.kind) return otherBytes(a, b, [`a ${before.kind} archive became a ${after.kind} archive`]);
  const lines = memberLines(before, after);
  if (lines.length === 0) return { equal: true, lines: [], leftOut: before.leftOut, notes: [] };
  return { ...otherBytes(a, b, lines), leftOut: before.leftOut };
}

/** Looks at the first bytes before a file is copied here. A range can not be verified; the copy is. */
async function mayBeArchive({ store }: VerdictDeps, file: ComparedFile): Promise<boolean> {
  if (file.sizeBytes < 18) return false;
  const chunks: Buffer[] = [];
  const end = Math.min(file.sizeBytes, 512) - 1;
  for await (const chunk of await store.get(file.sha256, { start: 0, end })) chunks.push(chunk as Buffer);
  const head = Buffer.concat(chunks).toString('latin1');
  return head.startsWith('PK') || head.startsWith('\u001f\u008b') || head.slice(257, 262) === 'ustar';
}

async function openArchive(deps: VerdictDeps, file: ComparedFile): Promise<Archive | string | null> {
  return await deps.lake.engine.scratch(async (directory) => {
    const copy = join(directory, 'archive');
    await deps.store.copyTo(file.sha256, copy);
    return await readArchive(copy, file.path);
  });
}

function memberLines(before: Archive, after: Archive): string[] {
  const names = [...new Set([...before.members.keys(), ...after.members.keys()])].sort();
  const lines = names.flatMap((name) => {
    const [from, to] = [before.members.get(name), after.members.get(name)];
    if (from === to) return [];
    if (from === undefined) return [`  member ${name}: only in the reproduction`];
    return [`  member ${name}: ${to === undefined ? 'only in the original' : 'other content'}`];
  });
  const rest = lines.length - membersShownMax;
  return rest <= 0 ? lines : [...lines.slice(0, membersShownMax), `  and ${rest} more members`];
}

/** Of small texts the lines that differ. */
async function textLines(deps: VerdictDeps, a: ComparedFile, b: ComparedFile): Promise<string[]> {
  const isText = /(?:\.(?:json|ya?ml|txt|csv|tsv|jsonl|md|toml|ini|cfg|log)|(?:^|\/)MLmodel)$/i.test(a.path);
  if (!isText || Math.max(a.sizeBytes, b.sizeBytes) > textBytesMax) return [];
  const [before, after] = [await readText(deps, a), await readText(deps, b)];
  if (/\.json$/i.test(a.path) && sameJson(before, after))
    return ['  the same JSON values in another spelling or order of keys; the bytes are not equal'];
  return indented(differingLines(before, after, linesMax));
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

async function readText({ store }: VerdictDeps, file: ComparedFile): Promise<string> {
  return (await readBlob(store, file.sha256, textBytesMax)).toString('utf8');
}

function sameJson(a: string, b: string): boolean {
  try {
    return canonicalJson(JSON.parse(a) as Json) === canonicalJson(JSON.parse(b) as Json);
  } catch {
    return false;
  }
}
