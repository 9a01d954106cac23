import { DomainError } from '#core/errors.ts';

/** What a user may name: a full hash (always a commit), a branch, a tag, an abbreviated hash, or HEAD. */
export type Reference =
  | { kind: 'commit'; sha: string }
  | { kind: 'head' }
  | { kind: 'branch'; name: string }
  | { kind: 'tag'; name: string }
  /** A bare word: a branch, a tag or, when it looks like one, an abbreviated hash. */
  | { kind: 'name'; name: string };

const referenceLengthMax = 255;
const fullHash = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const abbreviatedHash = /^[0-9a-f]{4,63}$/;

export function isFullHash(text: string): boolean {
  return fullHash.test(text);
}

export function isAbbreviatedHash(text: string): boolean {
  return abbreviatedHash.test(text) && !isFullHash(text);
}

// The rules of git-check-ref-format(1), and no leading dash in any component.
const forbidden: readonly [RegExp, string][] = [
  // oxlint-disable-next-line no-control-regex
  [/[\u0000-\u0020\u007f]/, 'a space or control character'],
  [/(?:^|\/)-/, "a part that starts with '-'"],
  [/\.\./, "'..'"],
  [/@\{|^@$/, "'@{' or a lone '@'"],
  [/[~^:?*[\\]/, 'one of ~ ^ : ? * [ \\'],
  [/(?:^|\/)\.|\.$/, "a part that starts with '.' or a final '.'"],
  [/\.lock(?:\/|$)/, "a part that ends with '.lock'"],
  [/^\/|\/\/|\/$/, 'an empty part'],
];

function refuse(text: string, why: string): never {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  throw new DomainError(
    'invalid-reference',
    `The reference ${shown} contains ${why}; give a branch, a tag or a commit hash.`,
  );
}

/** Throws invalid-reference for everything that git could read as an option, a range or an expression. */
export function parseReference(text: string): Reference {
  if (text === '') refuse(text, 'nothing');
  if (text.length > referenceLengthMax) refuse(text, `more than ${referenceLengthMax} characters`);
  const found = forbidden.find(([pattern]) => pattern.test(text));
  if (found !== undefined) refuse(text, found[1]);
  const lower = text.toLowerCase();
  if (isFullHash(lower)) return { kind: 'commit', sha: lower };
  if (text === 'HEAD') return { kind: 'head' };
  if (text.startsWith('refs/heads/')) return { kind: 'branch', name: text.slice('refs/heads/'.length) };
  if (text.startsWith('refs/tags/')) return { kind: 'tag', name: text.slice('refs/tags/'.length) };
  if (text.startsWith('refs/')) refuse(text, "a 'refs/' prefix that is neither refs/heads/ nor refs/tags/");
  return { kind: 'name', name: text };
}

/** A full hash in lower case, or invalid-reference. */
export function parseCommit(text: string): string {
  const sha = text.toLowerCase();
  if (isFullHash(sha)) return sha;
  refuse(text, `${text.length} characters where a full commit hash has 40 or 64 hexadecimal digits`);
}
