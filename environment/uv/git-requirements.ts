// Git requirements of a project whose packages are resolved in a container: the image need not have git, so each is
// fetched and built before, and the resolver is given the wheel in its place.
import { pathToFileURL } from 'node:url';
import { DomainError } from '#core/errors.ts';
import { inImage } from '#environment/context.ts';
import { runInstalling } from '#environment/process/builder.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { buildGitWheel, type WheelBuilding, wheelPath } from './built-wheels.ts';

const gitToken = /git\+[^\s"',;\]]+/g;

/** The text with the address of a wheel on this machine in place of every git address outside of comments. */
export async function withBuiltWheels(building: WheelBuilding, text: string): Promise<string> {
  const lines: string[] = [];
  for (const line of text.split('\n')) lines.push(/^\s*#/.test(line) ? line : await withWheel(building, line));
  return lines.join('\n');
}

export function namesGit(text: string): boolean {
  return /^[^#]*git\+/m.test(text);
}

async function withWheel(building: WheelBuilding, line: string): Promise<string> {
  let changed = line;
  for (const token of line.match(gitToken) ?? []) {
    const asked = parseAddress(token);
    const commit = await findCommit(building, asked);
    const { wheel } = await buildGitWheel(building, { ...asked, commit, marker: '' });
    changed = changed.replace(token, pathToFileURL(wheelPath(building.context, wheel)).href);
  }
  // A wheel is installed as it is, also where the line asks for the sources themselves.
  return changed === line ? line : changed.replace(/^\s*(-e|--editable)[\s=]+/, '');
}

interface GitAddress {
  address: string;
  /** Branch, tag or commit; null for the default branch. */
  ref: string | null;
  subdirectory: string;
}

/** @throws DomainError environment-unresolvable for what is no address. */
function parseAddress(token: string): GitAddress {
  const written = token.slice('git+'.length);
  if (!URL.canParse(written)) throw unresolvable(token, 'it is not an address');
  const url = new URL(written);
  const subdirectory = new URLSearchParams(url.hash.slice(1)).get('subdirectory') ?? '.';
  const bare = written.replace(/#.*$/, '');
  const at = bare.lastIndexOf('@');
  // A user name has an @ too; a reference stands behind the path's first slash.
  const hasRef = at > bare.indexOf('/', bare.indexOf('://') + 3);
  return { address: hasRef ? bare.slice(0, at) : bare, ref: hasRef ? bare.slice(at + 1) : null, subdirectory };
}

async function findCommit({ context, onLine, signal }: WheelBuilding, { address, ref }: GitAddress): Promise<string> {
  if (ref !== null && /^[0-9a-f]{40}$/.test(ref)) return ref;
  const names = ref === null ? ['HEAD'] : [`refs/tags/${ref}^{}`, `refs/tags/${ref}`, `refs/heads/${ref}`];
  const args = ['ls-remote', '--', address, ...names];
  const { exitCode, stdout, stderr } = await withWorkDirectory(context.cacheDir, (work) =>
    runInstalling(inImage(context, null), work, 'git', args, { cwd: work, onLine, signal }),
  );
  if (exitCode !== 0) throw lsFailure(address, stderr);
  const found = new Map(stdout.split('\n').map((line) => [line.split('\t')[1], line.split('\t')[0]]));
  const commit = names.map((name) => found.get(name)).find((sha) => sha !== undefined);
  if (commit !== undefined) return commit;
  throw unresolvable(
    `git+${address}`,
    `it has no branch or tag ${ref ?? 'HEAD'}; a commit is written with all 40 digits`,
  );
}

function lsFailure(address: string, stderr: string): Error {
  const said = stderr.split('\n').find((line) => /^(fatal|error):/.test(line)) ?? stderr.trim();
  const isPermanent =
    /not allowed|not found|does not exist|could not read Username|Authentication failed|denied|not appear/i;
  if (isPermanent.test(stderr)) return unresolvable(`git+${address}`, said);
  return new Error(`git could not reach ${address}: ${said}`);
}

function unresolvable(requirement: string, why: string): DomainError {
  return new DomainError(
    'environment-unresolvable',
    `The git requirement ${requirement} cannot be fetched: ${why}. Check the address and the access of this machine.`,
    [{ path: requirement, message: why }],
  );
}
