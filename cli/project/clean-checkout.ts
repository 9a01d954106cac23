// What of a checkout is part of a run, and what is not.
import type { Checkout } from '#cli/checkout.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { projectNameFrom } from '#core/names.ts';
import type { ProjectConfig } from '#core/project.ts';
import { findIgnoredInputs } from './ignored-inputs.ts';

const codeEndings = /\.(py|pyx|ipynb|sql|sh|ya?ml|toml|cfg|ini)$/i;
const namesMax = 20;

/** Untracked code would be missing from the run without a word; other untracked files are only mentioned. */
export function refuseDirty({ terminal }: Context, { dirty, untracked }: Checkout): void {
  const untrackedCode = untracked.filter((path) => codeEndings.test(path));
  const lines = [
    ...dirty.map(({ status, path }) => `${status.replaceAll('.', ' ')} ${path}`),
    ...untrackedCode.map((path) => `?? ${path}`),
  ];
  if (lines.length > 0) {
    const details =
      lines.length > namesMax ? [...lines.slice(0, namesMax), `… and ${lines.length - namesMax} more`] : lines;
    throw new CliError(
      'The checkout has changes that no commit holds. Commit them, or run with --dirty, which stores them as a patch and bars promotion:',
      { details },
    );
  }
  const others = untracked.filter((path) => !codeEndings.test(path));
  if (others.length > 0) terminal.note(`Not part of the run, because no commit holds them: ${listed(others)}`);
}

export function isDirty({ dirty, untracked }: Checkout): boolean {
  return dirty.length > 0 || untracked.length > 0;
}

/** Paths that a run gets from the lake are no loss. */
export async function nameIgnoredInputs(
  { terminal }: Context,
  { root }: Checkout,
  { data }: Pick<ProjectConfig, 'data'>,
): Promise<void> {
  const loaded = data.map(({ to }) => to.replace(/\/$/, ''));
  const isLoaded = (path: string) => loaded.some((to) => path === to || path.startsWith(`${to}/`));
  for (const { path, mentionedIn } of await findIgnoredInputs(root)) {
    if (isLoaded(path)) continue;
    terminal.note(
      `${path} is ignored by git and not part of the run, but ${mentionedIn} names it. If it is data: assay data add ${datasetNameOf(path)} ${path}`,
    );
  }
}

/** Datasets are spelled like projects. */
function datasetNameOf(path: string): string {
  return projectNameFrom(path.split('/').findLast((part) => part !== '') ?? '') ?? 'data';
}

function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, 5).join(', ');
  return paths.length > 5 ? `${shown} and ${paths.length - 5} more` : shown;
}
