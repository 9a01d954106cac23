// Python versions as people ask for them: `3.11`, `3.11.7`, `>=3.9,<3.13`, `~=3.10`, Poetry's `^3.9`.

interface Clause {
  operator: string;
  release: readonly number[];
  isPrefix: boolean;
}

/** Undefined when the text is not a version request. */
export function parseVersionRequest(text: string): readonly Clause[] | undefined {
  const trimmed = text.trim().replace(/^(cpython|python)[-@]?/i, '');
  if (trimmed === '' || trimmed === '*') return [];
  const clauses = trimmed.split(',').map((part) => parseClause(part.trim()));
  return clauses.every((clause) => clause !== undefined) ? clauses : undefined;
}

function parseClause(text: string): Clause | undefined {
  const found = /^(===|==|!=|<=|>=|~=|<|>|\^|~|=)?\s*v?(\d+(?:\.\d+)*)(\.\*)?(?:-dev)?$/.exec(text);
  if (found === null) return undefined;
  const release = (found[2] ?? '').split('.').map(Number);
  const operator = found[1] ?? '';
  const isBare = operator === '' || operator === '=';
  return { operator: isBare ? '==' : operator, release, isPrefix: isBare || found[3] !== undefined };
}

/** @param version a full release such as `3.11.7`. */
export function matchesRequest(version: string, clauses: readonly Clause[]): boolean {
  const release = parseRelease(version);
  return clauses.every((clause) => matchesClause(release, clause));
}

function matchesClause(release: readonly number[], clause: Clause): boolean {
  const order = compareReleases(release, clause.release);
  const startsWith = clause.release.every((part, index) => release[index] === part);
  switch (clause.operator) {
    case '==':
    case '===':
      return clause.isPrefix ? startsWith : order === 0;
    case '!=':
      return clause.isPrefix ? !startsWith : order !== 0;
    case '>=':
      return order >= 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '<':
      return order < 0;
    case '~=':
      return order >= 0 && samePrefix(release, clause.release, clause.release.length - 1);
    case '^':
      return order >= 0 && samePrefix(release, clause.release, 1);
    default:
      return order >= 0 && samePrefix(release, clause.release, Math.min(2, clause.release.length));
  }
}

function samePrefix(release: readonly number[], wanted: readonly number[], length: number): boolean {
  return wanted.slice(0, length).every((part, index) => release[index] === part);
}

/** Negative, zero or positive; missing parts count as zero. */
export function compareReleases(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export function parseRelease(version: string): number[] {
  return (/^\d+(?:\.\d+)*/.exec(version)?.[0] ?? '0').split('.').map(Number);
}
