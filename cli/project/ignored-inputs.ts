// Paths that git ignores, that lie in the checkout, and that the code names: probably data the run will miss.
import { execFile } from 'node:child_process';
import { lstat, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { promisify } from 'node:util';
import { ignoredPaths } from '#cli/checkout.ts';
import { inParallel } from '#cli/files/parallel.ts';

export interface IgnoredInput {
  path: string;
  /** The first file that names it, with the line. */
  mentionedIn: string;
}

const run = promisify(execFile);
const codeFile = /\.(py|sh|ya?ml|toml|json|cfg|ini)$/i;
const codeFilesMax = 500;
const codeBytesMax = 512 * 1024;
const listingBytesMax = 64 * 1024 ** 2;
const readersMax = 16;

/** A quoted text that looks like a path, or a word of a command behind a space or `=`. */
const quotedText = /["']([\w./-]{3,200})["']/g;
/** Lines that write are about results, not about inputs. */
const writes = /["'](?:w|wb|a|ab|x)["']|\.(?:to_\w+|savefig|save|dump|write_\w+|mkdir|makedirs)\(|outputs?:|\bto:/;
const neverInputs = /(^|\/)(\.venv|venv|__pycache__|node_modules|\.git|outputs|runs|mlruns|lightning_logs)(\/|$)/;

export async function findIgnoredInputs(root: string): Promise<IgnoredInput[]> {
  const mentions = await findMentions(root);
  const present = await inParallel([...mentions.keys()], readersMax, async (path) =>
    (await exists(join(root, path))) ? path : null,
  );
  const candidates = present.filter((path) => path !== null);
  const ignored = new Set(await ignoredPaths(root, candidates));
  return candidates
    .filter((path) => ignored.has(path))
    .filter((path, _index, all) => !all.some((other) => path.startsWith(`${other}/`)))
    .map((path) => ({ path, mentionedIn: mentions.get(path) ?? '' }));
}

/** Path → where it is first named. A path that some line writes is left out altogether. */
async function findMentions(root: string): Promise<Map<string, string>> {
  const files = (await trackedFiles(root)).filter((path) => codeFile.test(path)).slice(0, codeFilesMax);
  const texts = await inParallel(files, readersMax, (path) => readSmall(join(root, path)));
  const read = new Map<string, string>();
  const written = new Set<string>();
  for (const [index, text] of texts.entries()) {
    for (const [lineIndex, line] of text.split('\n').entries()) {
      for (const path of pathsIn(line)) {
        if (writes.test(line)) written.add(path);
        else if (!read.has(path)) read.set(path, `${files[index]}:${lineIndex + 1}`);
      }
    }
  }
  return new Map([...read].filter(([path]) => !written.has(path)));
}

function pathsIn(line: string): string[] {
  return [...line.matchAll(quotedText)]
    .map(([, text]) => posix.normalize(text ?? '').replace(/\/$/, ''))
    .filter((path) => !path.startsWith('/') && !path.startsWith('..') && path !== '.' && !neverInputs.test(path));
}

async function trackedFiles(root: string): Promise<string[]> {
  const { stdout } = await run('git', ['ls-files', '-z'], { cwd: root, maxBuffer: listingBytesMax });
  return stdout.split('\0').filter(Boolean);
}

async function readSmall(path: string): Promise<string> {
  const found = await lstat(path).catch(() => null);
  return found?.isFile() && found.size <= codeBytesMax ? readFile(path, 'utf8') : '';
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
