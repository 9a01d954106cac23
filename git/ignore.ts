import picomatch from 'picomatch';

export type PathFilter = (path: string) => boolean;

interface Rule {
  negated: boolean;
  matches: PathFilter;
}

// gitignore(5) knows neither braces nor extended globs; a backslash escapes.
const globOptions = { dot: true, nobrace: true, noextglob: true, nonegate: true, nocase: false };

function toRule(line: string, anchoredAlways: boolean): Rule | null {
  const text = line.replace(/\r$/, '').replace(/(?<!\\)\s+$/, '');
  if (text === '' || text.startsWith('#')) return null;
  const negated = text.startsWith('!');
  const pattern = negated ? text.slice(1) : text;
  const body = pattern.replace(/^\.?\//, '').replace(/\/$/, '');
  if (body === '' || body === '.') return { negated, matches: () => true };
  const anchored = anchoredAlways || pattern.startsWith('/') || body.includes('/');
  const base = anchored ? body : `**/${body}`;
  const globs = pattern.endsWith('/') ? [`${base}/**`] : [base, `${base}/**`];
  // picomatch lets `a/**` match `a` itself, which for `folder/` would be a file of that name.
  const isMatch = picomatch(globs, globOptions);
  const isFolder = pattern.endsWith('/') ? picomatch(base, globOptions) : null;
  return { negated, matches: (path) => isMatch(path) && !(isFolder?.(path) ?? false) };
}

function toFilter(lines: readonly string[], anchored: boolean): PathFilter {
  const rules = lines.map((line) => toRule(line, anchored)).filter((rule) => rule !== null);
  return (path) => rules.findLast((rule) => rule.matches(path))?.negated === false;
}

/**
 * Paths that the lines of an ignore file name: the syntax of .gitignore, the last matching line wins. Unlike git, a `!`
 * line may bring back a file whose folder is ignored.
 */
export function ignoreFilter(text: string): PathFilter {
  return toFilter(text.split('\n'), false);
}

/** Paths that `code:` globs name; each starts at the root, and a folder stands for everything in it. */
export function codeFilter(globs: readonly string[]): PathFilter {
  return toFilter(globs, true);
}
