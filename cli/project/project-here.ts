// Which project the folder the command was called in belongs to.
import { stat, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseDocument } from 'yaml';
import { projectNameFrom } from '#core/names.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { parseRunReference } from '#cli/words/run-reference.ts';

export const projectFileName = 'assay.yaml';

/** The nearest folder upwards that is a git checkout or holds an assay.yaml; null when there is none. */
export async function findRoot(dir: string): Promise<string | null> {
  for (let folder = dir; ; folder = dirname(folder)) {
    if ((await exists(join(folder, '.git'))) || (await exists(join(folder, projectFileName)))) return folder;
    if (folder === dirname(folder)) return null;
  }
}

/** As `findRoot`. Elsewhere nothing says where the project ends, and a home folder or a whole disk would be searched. */
export async function rootHere(dir: string): Promise<string> {
  const root = await findRoot(dir);
  if (root === null) throw new CliError(`${dir} is not inside a git checkout; run git init there, then try again.`);
  return root;
}

/** What assay.yaml says, else the folder's name in the spelling of project names. */
export async function projectNameHere(context: Context): Promise<string> {
  const root = await findRoot(context.cwd);
  if (root === null) {
    throw new CliError(`${context.cwd} is not inside a project; go to its checkout, or name it with --project.`);
  }
  return projectNameAt(root);
}

export async function projectNameAt(root: string): Promise<string> {
  return (await nameInFile(join(root, projectFileName))) ?? nameOfFolder(root);
}

/** A run as people name it, with the checkout's project in front of a bare number. */
export function parseRun(context: Context, text: string): Promise<string> {
  return parseRunReference(text, () => projectNameHere(context));
}

/** A file that cannot be read in full is refused elsewhere, with all its mistakes. */
async function nameInFile(path: string): Promise<string | null> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const name: unknown = parseDocument(text).get('project');
  return typeof name === 'string' && name !== '' ? name : null;
}

/** The folder's name in the spelling of project names. @throws CliError when nothing is left of it. */
export function nameOfFolder(root: string): string {
  const name = projectNameFrom(basename(root));
  if (name !== null) return name;
  throw new CliError(`The folder ${root} has no name a project can have; give one with --project NAME.`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
