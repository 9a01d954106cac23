import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Pyproject, stringAt, stringsAt, tableAt } from '#environment/sources/pyproject.ts';
import { readText } from '#environment/sources/tree.ts';
import { type Statements, tools } from './statements.ts';

/** The version as it is written somewhere; undefined when only git or a build knows it. */
export async function findVersion(
  { directory, pyproject, setup, config }: Statements,
  importRoots: readonly string[],
): Promise<string | undefined> {
  const table = pyproject?.table ?? {};
  const stated =
    stringAt(tableAt(table, 'project'), 'version') ?? stringAt(tableAt(tools(pyproject), 'poetry'), 'version');
  const others = [stated, plainVersion(config.metadata?.version), setup?.version];
  return others.find((version) => version) ?? (await versionInSources(directory, importRoots, pyproject));
}

function plainVersion(text: string | undefined): string | undefined {
  return text !== undefined && /^\d/.test(text) ? text : undefined;
}

/** A dynamic version is mostly a `__version__` in a file that the backend is pointed at, or in the package. */
async function versionInSources(
  directory: string,
  importRoots: readonly string[],
  pyproject: Pyproject | undefined,
): Promise<string | undefined> {
  const tool = tools(pyproject);
  const hatch = stringAt(tableAt(tableAt(tool, 'hatch'), 'version'), 'path');
  const dynamic = tableAt(tableAt(tableAt(tool, 'setuptools'), 'dynamic'), 'version');
  const file = stringAt(dynamic, 'file') ?? stringsAt(dynamic, 'file')?.[0];
  const module = stringAt(dynamic, 'attr')?.split('.').slice(0, -1).join('/');
  const candidates = [
    ...[hatch, file].filter((path) => typeof path === 'string').map((path) => join(directory, path)),
    ...importRoots.flatMap((root) =>
      module ? [`${module}.py`, `${module}/__init__.py`].map((path) => join(directory, root, path)) : [],
    ),
    ...(await packageFiles(directory, importRoots)),
  ];
  for (const path of candidates) {
    const text = (await readText(path)) ?? '';
    const found = /^(?:__version__|VERSION|version)\s*(?::\s*\w+\s*)?=\s*['"](\d[^'"]*)['"]/m.exec(text)?.[1];
    const whole = /^\s*(\d+\.\d+\S*)\s*$/.exec(text)?.[1];
    if (found ?? whole) return found ?? whole;
  }
  return undefined;
}

async function packageFiles(directory: string, importRoots: readonly string[]): Promise<string[]> {
  const listed = importRoots.map(async (root) => {
    const entries = await readdir(join(directory, root), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
    return folders.flatMap(({ name }) =>
      ['__init__.py', '_version.py', '__about__.py', 'version.py'].map((file) => join(directory, root, name, file)),
    );
  });
  return (await Promise.all(listed)).flat();
}
