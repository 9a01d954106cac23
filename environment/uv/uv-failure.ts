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
  const isTalk = /^(warning|Using|Resolved|Prepared|Downloading|\s+Building|\s+Updat|\s+Downloaded)/;
  const said = stderr.split('\n').filter((line) => !isTalk.test(line));
  const hint = said.findIndex((line) => /^\s*hint:/.test(line));
  const lines = withoutTraceback(hint === -1 ? said : said.slice(0, hint));
  const flat = lines.join(' ').replaceAll(/\s+/g, ' ');
  const told = flat.slice(Math.max(0, flat.search(/error: /))).replace(/^error: /, '');
  const short = told
    .replace(/^No solution found when resolving dependencies:? cause: /, '')
    .replaceAll(' cause: ', ': ')
    .replaceAll(/The build backend returned an error: Call to `[^`]*` failed \([^)]*\)(?: \[std(?:out|err)\])? ?/g, '')
    .replaceAll(/,? we can conclude that your requirements are unsatisfiable\.?/g, '')
    .replaceAll('we can conclude that ', '')
    .replaceAll(/ hint: .*$/g, '')
    .trim();
  const charsMax = 600;
  const cut = short.length > charsMax ? shortened(short, lines, charsMax) : short;
  return (cut || 'uv gave no reason').replace(/[.,]$/, '').replace(/^Because /, 'because ');
}

/** Of a long story its beginning, which says what failed, and the last errors of it: a compiler prints its cause late. */
function shortened(story: string, lines: readonly string[], charsMax: number): string {
  const errors = lines.slice(1).filter((line) => /(^|[\s:])(fatal )?error:? /i.test(line));
  const causes = [
    ...new Set(
      errors.map((line) =>
        line
          .trim()
          .replaceAll(/\s+/g, ' ')
          .slice(0, charsMax / 3),
      ),
    ),
  ];
  const told = causes.slice(-2).join(' … ');
  if (told === '') return `${story.slice(0, charsMax)}…`;
  const head = story.slice(0, charsMax - told.length);
  return head.includes(told) ? `${head}…` : `${head}… ${told}`;
}

/** Of a build's output that ends in a Python traceback only the exception says what is wrong. */
function withoutTraceback(lines: readonly string[]): readonly string[] {
  const start = lines.findLastIndex((line) => /^\s*Traceback \(most recent call last\):$/.test(line));
  const indent = lines[start]?.search(/\S/) ?? 0;
  const end = lines.findIndex((line, index) => index > start && line.trim() !== '' && line.search(/\S/) <= indent);
  if (start === -1 || end === -1) return lines;
  const output = lines.findIndex((line) => /^\s*\[(stdout|stderr)\]$/.test(line));
  return [...lines.slice(0, output === -1 ? start : output), ...lines.slice(end)];
}

function advice(stderr: string): string {
  if (/was not found in the (package registry|provided package locations)/.test(stderr))
    return 'Correct the name, or name the index that has it.';
  if (stderr.includes('Hash mismatch'))
    return 'The index serves another file than the one that was locked: lock again.';
  if (/Couldn't parse|Failed to parse/.test(stderr)) return 'Correct that line.';
  if (/Failed to build/i.test(stderr))
    return 'Ask for a version that has a wheel for this Python, or install what its build needs, in a container by a base image that has it (`image:` or `dockerfile:`).';
  if (/(401|403) (Unauthorized|Forbidden)/.test(stderr)) return 'Give Assay the credentials of that host.';
  if (/depends on Python|requested Python version/.test(stderr)) return 'Ask for another version of it, or of Python.';
  if (stderr.includes("transport '")) return 'Git requirements use https or ssh.';
  return 'Change the requirement that stands in the way.';
}

/** The requirement lines of a text, for naming the one at fault. */
export function requirementLines(text: string): string[] {
  return logicalLines(text).filter((line) => !line.startsWith('-'));
}
