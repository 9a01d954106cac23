import { DomainError } from '#core/errors.ts';
import { logicalLines } from '#environment/sources/requirements-file.ts';
import { requirementName } from '#environment/sources/uv-lock.ts';

const worldTrouble =
  /os error|dns error|error sending request|connection|timed? ?out|Failed to fetch|Request failed|No space left|5\d\d (Internal|Bad Gateway|Service)|429 Too Many/i;
const certain = /No solution found|Hash mismatch|Failed to build|(401|403) (Unauthorized|Forbidden)/i;

/**
 * What a failed uv means: a DomainError when asking again would fail again, an ordinary error when the world is
 * in trouble (an index that does not answer, a full disk).
 *
 * @param what for example `requirements.txt`.
 * @param requirements the lines that were asked for, to name the one that uv speaks of.
 */
export function uvFailure(what: string, stderr: string, requirements: readonly string[] = []): Error {
  const said = sentence(stderr);
  if (worldTrouble.test(stderr) && !certain.test(stderr)) return new Error(`uv failed on ${what}: ${said}`);
  const named = [...new Set(requirements)].filter((line) => mentions(stderr, requirementName(line)));
  return new DomainError(
    'environment-unresolvable',
    `${what} cannot be installed: ${said}. ${advice(stderr)}`,
    named.map((line) => ({ path: line, message: said, file: what })),
  );
}

function mentions(text: string, name: string): boolean {
  return name !== '' && new RegExp(`(^|[^\\w-])${name.replaceAll('-', '[-_.]')}([^\\w-]|$)`, 'i').test(text);
}

/** uv's causes as one sentence, without its boilerplate. */
function sentence(stderr: string): string {
  const isTalk = /^(warning|hint|Using|Resolved|Prepared|\s+Building|\s+Updat)/;
  const lines = stderr.split('\n').filter((line) => !isTalk.test(line));
  const flat = lines.join(' ').replaceAll(/\s+/g, ' ');
  const told = flat.slice(Math.max(0, flat.search(/error: /))).replace(/^error: /, '');
  const short = told
    .replace(/^No solution found when resolving dependencies:? cause: /, '')
    .replaceAll(' cause: ', ': ')
    .replaceAll(/,? we can conclude that your requirements are unsatisfiable\.?/g, '')
    .replaceAll('we can conclude that ', '')
    .replaceAll(/ hint: .*$/g, '')
    .trim();
  const charsMax = 600;
  const cut = short.length > charsMax ? `${short.slice(0, charsMax)}…` : short;
  return (cut || 'uv gave no reason').replace(/[.,]$/, '').replace(/^Because /, 'because ');
}

function advice(stderr: string): string {
  if (/was not found in the (package registry|provided package locations)/.test(stderr))
    return 'Correct the name, or name the index that has it.';
  if (stderr.includes('Hash mismatch'))
    return 'The index serves another file than the one that was locked: lock again.';
  if (/Couldn't parse|Failed to parse/.test(stderr)) return 'Correct that line.';
  if (/Failed to build/i.test(stderr))
    return 'Ask for a version that has a wheel for this Python, or install what its build needs.';
  if (/(401|403) (Unauthorized|Forbidden)/.test(stderr)) return 'Give Assay the credentials of that host.';
  if (/depends on Python|requested Python version/.test(stderr)) return 'Ask for another version of it, or of Python.';
  if (stderr.includes("transport '")) return 'Git requirements use https or ssh.';
  return 'Change the requirement that stands in the way.';
}

/** The requirement lines of a text, for naming the one at fault. */
export function requirementLines(text: string): string[] {
  return logicalLines(text).filter((line) => !line.startsWith('-'));
}
