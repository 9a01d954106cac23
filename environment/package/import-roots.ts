import { join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import { stringAt, stringsAt, tableAt, tablesAt } from '#environment/sources/pyproject.ts';
import { isDirectory, isFile } from '#environment/sources/tree.ts';
import { type Statements, tools } from './statements.ts';

/** The directories that a package is imported from, relative to it. */
export async function findImportRoots({ directory, pyproject, setup, config }: Statements): Promise<string[]> {
  const named = [...declaredRoots(tools(pyproject)), ...setupRoots({ setup, config })];
  const present = await Promise.all(
    [...new Set(named)].map(async (root) => ({ root, is: await isDirectory(join(directory, root)) })),
  );
  const roots = present.filter(({ is }) => is).map(({ root }) => root);
  if (roots.length > 0) return roots;
  const hasSource =
    (await isDirectory(join(directory, 'src'))) && !(await isFile(join(directory, 'src', '__init__.py')));
  return hasSource ? ['src'] : ['.'];
}

function setupRoots({ setup, config }: Pick<Statements, 'setup' | 'config'>): string[] {
  const inConfig = /^\s*=\s*(\S+)/m.exec(config.options?.package_dir ?? '')?.[1];
  const where = config['options.packages.find']?.where?.trim();
  return [setup?.packageDir, inConfig, where].filter((root): root is string => Boolean(root));
}

/** Where the build backends are told that packages lie. */
function declaredRoots(tool: TomlTable): string[] {
  const setuptools = tableAt(tool, 'setuptools');
  const wheel = tableAt(tableAt(tableAt(tableAt(tool, 'hatch'), 'build'), 'targets'), 'wheel');
  const poetry = tablesAt(tableAt(tool, 'poetry'), 'packages').map((entry) => stringAt(entry, 'from') ?? '.');
  return [
    stringAt(tableAt(setuptools, 'package-dir'), ''),
    ...(stringsAt(tableAt(tableAt(setuptools, 'packages'), 'find'), 'where') ?? []),
    ...(stringsAt(wheel, 'packages') ?? []).map((path) => join(path, '..')),
    ...(stringsAt(wheel, 'sources') ?? []),
    ...poetry,
    stringAt(tableAt(tableAt(tool, 'uv'), 'build-backend'), 'module-root'),
    stringAt(tableAt(tableAt(tool, 'pdm'), 'build'), 'package-dir'),
  ].filter((root): root is string => root !== null && root !== '' && !root.startsWith('..'));
}
