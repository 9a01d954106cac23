import { DomainError } from '#core/errors.ts';
import { type GitOptions, runGit } from './command.ts';
import { isAbbreviatedHash, type Reference } from './reference.ts';

/** What a reference means at this moment. The hashes never change their meaning; the branch does. */
export interface ResolvedCommit {
  commit: string;
  tree: string;
  branch: string | null;
  authorName: string;
  authorEmail: string;
  /** First line of the message, without control characters, at most 500 characters. */
  message: string;
  /** ISO 8601 in UTC. */
  committedAt: string;
}

interface Candidate {
  /** What the user's word was taken for: a full reference name or a hash. */
  meaning: string;
  object: string;
  branch: string | null;
}

interface Found {
  candidate: Candidate;
  commit: string;
  body: string;
}

const commitBytesMax = 4 * 1024 ** 2;
const messageLengthMax = 500;
const namesShown = 5;
const heads = 'refs/heads/';

async function headRef(options: GitOptions): Promise<string> {
  return (await runGit(['symbolic-ref', '--quiet', 'HEAD'], options)).toString('utf8').trim();
}

// Never `git rev-parse NAME`: it also reads names as expressions, and any word that ends in -g1234567 as a hash.
async function fromRefs(names: readonly string[], options: GitOptions): Promise<Candidate[]> {
  const output = await runGit(['for-each-ref', '--format=%(objectname) %(refname)', ...names], options);
  const lines = output.toString('utf8').split('\n').filter(Boolean);
  const found = lines.map((line) => ({
    object: line.slice(0, line.indexOf(' ')),
    meaning: line.slice(line.indexOf(' ') + 1),
  }));
  return found
    .filter((one) => names.includes(one.meaning))
    .map((one) => ({ ...one, branch: one.meaning.startsWith(heads) ? one.meaning.slice(heads.length) : null }));
}

async function fromAbbreviation(prefix: string, options: GitOptions): Promise<Candidate[]> {
  const output = await runGit(['rev-parse', `--disambiguate=${prefix}`], options);
  const objects = output.toString('latin1').split('\n').filter(Boolean);
  return objects.map((object) => ({ meaning: object, object, branch: null }));
}

async function candidates(reference: Reference, options: GitOptions): Promise<Candidate[]> {
  switch (reference.kind) {
    case 'commit':
      return [{ meaning: reference.sha, object: reference.sha, branch: null }];
    case 'head':
      return fromRefs([await headRef(options)], options);
    case 'branch':
      return fromRefs([heads + reference.name], options);
    case 'tag':
      return fromRefs([`refs/tags/${reference.name}`], options);
    case 'name': {
      const named = await fromRefs([heads + reference.name, `refs/tags/${reference.name}`], options);
      const word = reference.name.toLowerCase();
      return isAbbreviatedHash(word) ? [...named, ...(await fromAbbreviation(word, options))] : named;
    }
  }
}

async function lookUp(all: readonly Candidate[], options: GitOptions): Promise<Found[]> {
  const stdin = all.map((candidate) => `${candidate.object}^{commit}\n`).join('');
  const output = await runGit(['cat-file', '--batch'], { ...options, stdin, outputBytesMax: commitBytesMax });
  const found: Found[] = [];
  let at = 0;
  for (const candidate of all) {
    const end = output.indexOf(10, at);
    const header = /^([0-9a-f]+) commit (\d+)$/.exec(output.toString('latin1', at, end));
    at = end + 1;
    if (header === null) continue;
    const sizeBytes = Number(header[2]);
    found.push({ candidate, commit: header[1] ?? '', body: output.toString('utf8', at, at + sizeBytes) });
    at += sizeBytes + 1;
  }
  return found;
}

// Names and messages are shown on terminals, where control characters and bidirectional overrides act.
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '').trim();
}

function isoTime(seconds: string | undefined): string {
  const time = new Date(Number(seconds ?? 0) * 1000);
  return Number.isNaN(time.getTime()) ? new Date(0).toISOString() : time.toISOString();
}

function describe(found: Found): ResolvedCommit {
  const split = found.body.indexOf('\n\n');
  const head = split < 0 ? found.body : found.body.slice(0, split);
  const message = split < 0 ? '' : found.body.slice(split + 2);
  const author = /^author (.*?) ?<([^>\n]*)>/m.exec(head);
  return {
    commit: found.commit,
    tree: /^tree ([0-9a-f]+)/.exec(head)?.[1] ?? '',
    branch: found.candidate.branch,
    authorName: plain(author?.[1] ?? ''),
    authorEmail: plain(author?.[2] ?? ''),
    message: plain(message.trimStart().split('\n', 1)[0] ?? '').slice(0, messageLengthMax),
    committedAt: isoTime(/^committer .*> (\d+)/m.exec(head)?.[1]),
  };
}

/** Throws commit-not-found (with near names) when nothing answers and invalid-reference when several commits do. */
export async function resolveReference(
  text: string,
  reference: Reference,
  options: GitOptions,
): Promise<ResolvedCommit> {
  const all = await candidates(reference, options);
  const found = all.length === 0 ? [] : await lookUp(all, options);
  const [first] = found;
  if (first === undefined) throw notFound(text, reference, await refNames(options));
  const others = found.filter((one) => one.commit !== first.commit);
  if (others.length === 0) return describe(first);
  const meanings = found.map((one) => `${one.candidate.meaning} is ${one.commit}`).join(', ');
  throw new DomainError(
    'invalid-reference',
    `The reference ${JSON.stringify(text)} has several meanings (${meanings}); give refs/heads/…, refs/tags/… or the full hash.`,
  );
}

/** Names of branches and tags, branches first. */
async function refNames(options: GitOptions): Promise<string[]> {
  const args = ['for-each-ref', '--format=%(refname:lstrip=2)', 'refs/heads/', 'refs/tags/'];
  return (await runGit(args, options)).toString('utf8').split('\n').filter(Boolean);
}

// Levenshtein distance over one row; names are at most 255 characters.
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function nearest(name: string, names: readonly string[]): string[] {
  const bare = name.replace(/^(?:origin|upstream)\//, '');
  const scored = names.slice(0, 2_000).map((candidate) => ({ candidate, score: distance(bare, candidate) }));
  return scored
    .sort((a, b) => a.score - b.score)
    .slice(0, namesShown)
    .map((one) => one.candidate);
}

function notFound(text: string, reference: Reference, names: readonly string[]): DomainError {
  const shown = JSON.stringify(text);
  if (reference.kind === 'commit') {
    return new DomainError(
      'commit-not-found',
      `The commit ${shown} is not known here; push it to the project's remote, or submit from a checkout that has it.`,
    );
  }
  const near = nearest('name' in reference ? reference.name : text, names);
  const known = near.length === 0 ? 'No branch or tag is known yet' : `The nearest known are ${near.join(', ')}`;
  return new DomainError(
    'commit-not-found',
    `No branch, tag or commit ${shown} was found. ${known}; push it to the project's remote, or submit from a checkout.`,
  );
}

/** Which of these full hashes are commits here. Others are left out, whatever they are. */
export async function knownCommits(shas: readonly string[], options: GitOptions): Promise<string[]> {
  if (shas.length === 0) return [];
  const stdin = shas.map((sha) => `${sha}\n`).join('');
  const format = '--batch-check=%(objectname) %(objecttype)';
  const lines = (await runGit(['cat-file', format], { ...options, stdin })).toString('latin1').split('\n');
  return lines.filter((line) => line.endsWith(' commit')).map((line) => line.slice(0, -' commit'.length));
}
