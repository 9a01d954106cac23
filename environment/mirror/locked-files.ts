// Which files a lock means on one platform, and where its indexes have them. uv is asked; nothing is downloaded.
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import type { EnvironmentContext } from '#environment/context.ts';
import { isOption, type Lock, parseEntries } from '#environment/lock.ts';
import { runInstalling } from '#environment/process/builder.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { parseToml, stringAt, tableAt, tablesAt } from '#environment/sources/pyproject.ts';
import { normalName, requirementName } from '#environment/sources/uv-lock.ts';
import { installingUv } from '#environment/uv/install-uv.ts';
import { uvFailure } from '#environment/uv/uv-failure.ts';

export interface LockedFile {
  filename: string;
  url: string;
  /** As the index announces it; null when it announces none. */
  sha256: string | null;
  /** All that the lock has for the package. */
  sha256s: readonly string[];
  isWheel: boolean;
}

/** `work` gets the lock; `links` are folders with wheels that no index has. */
export async function lockedFiles(
  context: EnvironmentContext,
  {
    lock,
    interpreter,
    links,
    signal,
  }: { lock: Lock; interpreter: Interpreter; links: string[]; signal?: AbortSignal | undefined },
  work: string,
): Promise<LockedFile[]> {
  const uv = await installingUv(context);
  const file = join(work, 'lock.txt');
  await writeFile(file, lock.text);
  const args = [
    'pip',
    'compile',
    // What it says of its choice is the only place that tells one of several wheels that would do.
    '--verbose',
    '--no-config',
    '--no-deps',
    '--generate-hashes',
    '--format=pylock.toml',
    '--no-header',
    '--no-annotate',
    '--index-strategy=unsafe-best-match',
    `--python=${interpreter.path}`,
    '--no-python-downloads',
    ...context.indexArguments,
    ...links.flatMap((link) => ['--find-links', link]),
    file,
  ];
  const { exitCode, stdout, stderr } = await runInstalling(context, work, uv.path, args, { cwd: work, signal });
  if (exitCode !== 0) throw uvFailure('The lock', withoutTalk(stderr));
  const chosen = new Set([...stderr.matchAll(/^DEBUG Selecting: .*\((\S+)\)$/gm)].map((found) => found[1] ?? ''));
  const hashes = hashesByName(lock);
  return tablesAt(parseToml(stdout, 'pylock.toml'), 'packages').flatMap((entry) => {
    const files = filesOf(entry).map((one) => ({
      ...one,
      sha256s: hashes.get(normalName(stringAt(entry, 'name') ?? '')) ?? [],
    }));
    const [picked] = files.filter(({ filename }) => chosen.has(filename));
    return picked === undefined
      ? files.filter(({ isWheel }) => isWheel || !files.some((one) => one.isWheel))
      : [picked];
  });
}

function withoutTalk(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !/^(DEBUG|TRACE|INFO) /.test(line))
    .join('\n');
}

function hashesByName(lock: Lock): Map<string, string[]> {
  const entries = parseEntries(lock.text).filter((entry) => !isOption(entry));
  const byName = Map.groupBy(entries, ({ requirement }) => requirementName(requirement));
  return new Map(
    [...byName].map(([name, group]) => [
      name,
      group.flatMap((entry) => entry.hashes.map((hash) => hash.replace('sha256:', ''))),
    ]),
  );
}

function filesOf(entry: TomlTable): Array<Omit<LockedFile, 'sha256s'>> {
  const archives = [tableAt(entry, 'archive'), tableAt(entry, 'sdist')].filter(
    (file) => stringAt(file, 'url') !== null,
  );
  return [...tablesAt(entry, 'wheels'), ...archives].map((file) => {
    const url = stringAt(file, 'url') ?? '';
    const filename = stringAt(file, 'name') ?? decodeURIComponent(basename(new URL(url).pathname));
    return { filename, url, sha256: stringAt(tableAt(file, 'hashes'), 'sha256'), isWheel: filename.endsWith('.whl') };
  });
}
