// A tree that the mirror lost, made again from its source archive: nothing enters the mirror but what hashes to its name.
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract as createExtract, type Extract } from 'tar-stream';
import { DomainError } from '#core/errors.ts';
import { type GitOptions, runGit, startGit } from './command.ts';
import { movePacks, withQuarantine } from './quarantine.ts';
import { updateRefs } from './refs.ts';
import { pathRefusal } from './source-path.ts';

/** Whether the object is here as a tree. A mirror without its folder has nothing. */
export async function hasTree(tree: string, options: GitOptions): Promise<boolean> {
  const answer = await runGit(['cat-file', '--batch-check=%(objecttype)'], { ...options, stdin: `${tree}\n` });
  return answer.toString('latin1').trim() === 'tree';
}

/** Keeps the tree although no commit here may have it. @throws source-refused when the archive is of another tree. */
export async function rebuildTree(
  rootDir: string,
  mirror: GitOptions & { gitDir: string },
  tree: string,
  archive: Readable,
): Promise<void> {
  await withQuarantine(rootDir, mirror.gitDir, async (quarantine) => {
    const git = { ...mirror, gitDir: quarantine.gitDir };
    await importArchive(archive, git);
    const found = (await runGit(['rev-parse', '--verify', `${carrier}^{tree}`], git)).toString('latin1').trim();
    if (found !== tree) throw otherTree(tree, found);
    const commit = (await runGit(['rev-parse', '--verify', carrier], git)).toString('latin1').trim();
    await movePacks(quarantine, mirror.gitDir);
    await updateRefs([`update refs/assay/trees/${tree} ${commit}`], mirror);
  });
}

/** The commit that the importer needs to hang a tree on; its own hash means nothing. */
const carrier = 'refs/assay/rebuilt';

function otherTree(tree: string, found: string): DomainError {
  return new DomainError(
    'source-refused',
    `The stored source is of the tree ${found}, and the run's is ${tree}; it was not used. Restore it from a backup.`,
  );
}

type Entry = Extract extends AsyncIterable<infer Item> ? Item : never;

/** One process for all files. Every object goes into a pack, because packs are what the mirror takes over. */
async function importArchive(archive: Readable, options: GitOptions): Promise<void> {
  const config = { 'fastimport.unpackLimit': '0' };
  const git = startGit(['fast-import', '--quiet', '--done', '--date-format=raw'], { ...options, config });
  git.stdout.resume();
  const failed = git.done.catch((error: Error) => error);
  try {
    await write(git.stdin, `commit ${carrier}\ncommitter Assay <assay@localhost> 0 +0000\ndata 0\n`);
    const extraction = createExtract();
    const fed = pipeline(archive, extraction as unknown as NodeJS.WritableStream).catch((error: Error) => error);
    for await (const entry of extraction) await importEntry(git.stdin, entry);
    const broken = await fed;
    if (broken !== undefined) throw broken;
    git.stdin.end('\ndone\n');
  } catch (error) {
    archive.destroy();
    git.stop(error as Error);
  }
  const error = await failed;
  if (error !== undefined) throw error;
}

async function importEntry(into: Writable, entry: Entry): Promise<void> {
  const { name, type, size, mode, linkname } = entry.header;
  const why = pathRefusal(name);
  if (why !== null)
    throw new DomainError('source-refused', `The source archive's entry ${JSON.stringify(name)} ${why}.`);
  if (type === 'symlink') {
    const target = linkname ?? '';
    entry.resume();
    await write(into, `M 120000 inline ${quoted(name)}\ndata ${Buffer.byteLength(target)}\n${target}\n`);
    return;
  }
  if (type !== 'file') throw new DomainError('source-refused', `The source archive's entry ${name} is a ${type}.`);
  const fileMode = ((mode ?? 0) & 0o111) === 0 ? '100644' : '100755';
  await write(into, `M ${fileMode} inline ${quoted(name)}\ndata ${size}\n`);
  for await (const piece of entry) await write(into, piece as Buffer);
  await write(into, '\n');
}

/** As git-fast-import(1) wants a path that may begin with a quote or have a line feed. */
function quoted(path: string): string {
  return `"${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

async function write(into: Writable, piece: string | Buffer): Promise<void> {
  if (into.destroyed) throw new Error('git fast-import ended before the archive did');
  if (!into.write(piece)) await Promise.race([once(into, 'drain'), once(into, 'close')]);
}
