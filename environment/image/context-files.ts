// What a Dockerfile is built from: itself, and of the tree only what its COPY and ADD name, so that other code can
// change without a new image.
import { join, posix } from 'node:path';
import picomatch from 'picomatch';
import { DomainError } from '#core/errors.ts';
import { readText } from '#environment/sources/tree.ts';
import { walk } from '#environment/process/trees.ts';

/** Paths of files and links in the tree, sorted; folders enter by what is in them. */
export async function contextFiles(root: string, dockerfile: string, text: string): Promise<string[]> {
  const ignores = await ignoring(root, dockerfile);
  const isCopied = copied(text);
  const paths: string[] = [];
  await walk(root, async (absolute, found) => {
    const path = absolute.slice(root.length + 1);
    if (found.isDirectory() || path === dockerfile) return;
    if (isCopied(path) && !ignores(path)) paths.push(path);
  });
  return paths.sort();
}

/** Every instruction with its continuation lines joined, without comments. */
function instructions(text: string): string[] {
  const lines = text.split(/\r?\n/).filter((line) => !/^\s*#/.test(line));
  return lines
    .join('\n')
    .replaceAll(/\\[ \t]*\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** The engine itself would fetch these, from wherever it stands. */
const remote = /^(?:https?:|git:|git@|ssh:|ftp:)/i;

/**
 * @throws DomainError environment-unresolvable for an ADD whose source is an address, or may become one.
 */
export function refuseRemoteSources(dockerfile: string, text: string): void {
  for (const line of instructions(text)) {
    const found = /^(?:ONBUILD\s+)?ADD\s+(.*)$/i.exec(line)?.[1];
    if (found === undefined) continue;
    const words = wordsOf(found.replace(/^(--\S+\s+)+/, '')) ?? [found];
    const source = words.find((word) => remote.test(word) || word.includes('$'));
    if (source === undefined && !/^ONBUILD/i.test(line)) continue;
    throw new DomainError(
      'environment-unresolvable',
      `${dockerfile} has \`${line.slice(0, 200)}\`: the engine would fetch that itself. Use RUN with curl or the like, or COPY a file of the repository.`,
    );
  }
}

/** When a source is not written out (a variable, another escape character), the whole tree counts. */
function copied(text: string): (path: string) => boolean {
  const sources: string[] = [];
  if (/^\s*#\s*escape\s*=/im.test(text)) return () => true;
  for (const line of instructions(text)) {
    if (/^ONBUILD\s/i.test(line) || /<<-?\s*['"]?\w/.test(line)) return () => true;
    const found = /^(?:COPY|ADD)\s+(.*)$/i.exec(line)?.[1];
    if (found === undefined || /^(--\S+\s+)*--from=/.test(found)) continue;
    const words = wordsOf(found.replace(/^(--\S+\s+)+/, ''));
    if (words === undefined || words.length < 2 || words.some((word) => word.includes('$'))) return () => true;
    sources.push(...words.slice(0, -1));
  }
  const globs = sources.filter((source) => !/^https?:/.test(source)).map(treePath);
  if (globs.some((glob) => glob === '')) return () => true;
  const matches = globs.flatMap((glob) => [picomatch(glob, { dot: true }), picomatch(`${glob}/**`, { dot: true })]);
  const exact = new Set(globs);
  return (path) => exact.has(path) || matches.some((match) => match(path));
}

function wordsOf(text: string): string[] | undefined {
  if (!text.startsWith('[')) return text.split(/\s+/).filter(Boolean);
  try {
    return JSON.parse(text) as string[];
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function treePath(source: string): string {
  return posix.join('/', source).slice(1).replace(/\/$/, '');
}

/** `.dockerignore`, or the one of this Dockerfile: the last line that matches a path or a folder above it decides. */
async function ignoring(root: string, dockerfile: string): Promise<(path: string) => boolean> {
  const text =
    (await readText(join(root, `${dockerfile}.dockerignore`))) ?? (await readText(join(root, '.dockerignore'))) ?? '';
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const rules = lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isKept = line.startsWith('!');
      const glob = treePath(isKept ? line.slice(1) : line);
      return { isKept, matches: picomatch([glob, `${glob}/**`], { dot: true }) };
    });
  return (path) => rules.findLast(({ matches }) => matches(path))?.isKept === false;
}

/** A name that can move gives another image on another node or another day. */
export function movingBases(text: string): string[] {
  const names = instructions(text).flatMap(
    (line) => /^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(line)?.slice(1, 3) ?? [],
  );
  const stages = new Set(names.filter((_, index) => index % 2 === 1));
  const from = names.filter((name, index) => index % 2 === 0 && !stages.has(name));
  return from
    .filter((name) => name !== undefined && name !== 'scratch' && !/@sha256:/.test(name))
    .map((name) => `note: FROM ${name} can move; FROM ${name}@sha256:… is the same image for ever.`);
}
