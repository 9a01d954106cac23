import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import { unknownVersion } from '#environment/context.ts';
import {
  isTable,
  type Pyproject,
  readPyproject,
  stringAt,
  stringsAt,
  tableAt,
  tablesAt,
} from '#environment/sources/pyproject.ts';
import { isDirectory, isFile, readText } from '#environment/sources/tree.ts';
import { readSetupScript, type SetupScript } from './setup-script.ts';

/** A package of the tree as an installation needs it. */
export interface PackageMetadata {
  /** Null when only running its build would tell: it is importable, without metadata. */
  name: string | null;
  version: string;
  requires: readonly string[];
  /** Directories to import from, relative to the package. */
  importRoots: readonly string[];
  /** Group → name → target, for example `console_scripts` → `pets-train` → `pets.train:main`. */
  entryPoints: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Why importing from the sources is not enough; null when it is. */
  needsBuild: string | null;
  notes: readonly string[];
}

/** Reads what a package says about itself, from its files alone: no build backend is asked, no code is run. */
export async function readPackageMetadata(
  directory: string,
  python: string,
  env: Readonly<Record<string, string>>,
): Promise<PackageMetadata> {
  const pyproject = await readPyproject(directory);
  const setup = await readSetupScript(directory, python, env);
  const config = readConfig((await readText(join(directory, 'setup.cfg'))) ?? '');
  const importRoots = await findImportRoots(directory, pyproject, setup, config);
  const version = (await findVersion(directory, importRoots, pyproject, setup, config)) ?? unknownVersion;
  const name = pyproject?.name ?? config.metadata?.name ?? setup?.name ?? null;
  const isComputed = !pyproject?.hasProject && (setup?.computed.includes('entry_points') ?? false);
  return {
    name,
    version,
    requires: pyproject?.dependencies ?? [],
    importRoots,
    entryPoints: entryPoints(pyproject, setup, config),
    needsBuild: await buildReason(directory, pyproject, setup),
    notes: [
      ...(name === null ? ['setup.py computes its name, so the package is importable but has no metadata.'] : []),
      ...(isComputed ? ['setup.py computes its entry points, so its commands are not installed.'] : []),
    ],
  };
}

type Config = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** setup.cfg: sections of keys whose values may go on over indented lines. */
function readConfig(text: string): Config {
  const sections: Record<string, Record<string, string>> = {};
  let section: Record<string, string> = {};
  let key = '';
  for (const line of text.split(/\r?\n/).filter((one) => !/^\s*[#;]/.test(one))) {
    const header = /^\[(.+)\]\s*$/.exec(line)?.[1];
    const pair = /^([^\s=:][^=:]*?)\s*[=:]\s*(.*)$/.exec(line);
    if (header !== undefined) section = sections[header] = {};
    else if (/^\s+\S/.test(line) && key !== '') section[key] = `${section[key] ?? ''}\n${line.trim()}`;
    else if (pair !== null) section[(key = pair[1] ?? '')] = pair[2] ?? '';
  }
  return sections;
}

function tools(pyproject: Pyproject | undefined): TomlTable {
  return tableAt(pyproject?.table ?? {}, 'tool');
}

async function findImportRoots(
  directory: string,
  pyproject: Pyproject | undefined,
  setup: SetupScript | undefined,
  config: Config,
): Promise<string[]> {
  const named = [...declaredRoots(tools(pyproject)), ...setupRoots(setup, config)];
  const present = await Promise.all(
    [...new Set(named)].map(async (root) => ({ root, is: await isDirectory(join(directory, root)) })),
  );
  const roots = present.filter(({ is }) => is).map(({ root }) => root);
  if (roots.length > 0) return roots;
  const hasSource =
    (await isDirectory(join(directory, 'src'))) && !(await isFile(join(directory, 'src', '__init__.py')));
  return hasSource ? ['src'] : ['.'];
}

function setupRoots(setup: SetupScript | undefined, config: Config): string[] {
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

async function findVersion(
  directory: string,
  importRoots: readonly string[],
  pyproject: Pyproject | undefined,
  setup: SetupScript | undefined,
  config: Config,
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

function entryPoints(
  pyproject: Pyproject | undefined,
  setup: SetupScript | undefined,
  config: Config,
): Record<string, Record<string, string>> {
  const project = tableAt(pyproject?.table ?? {}, 'project');
  const poetry = tableAt(tools(pyproject), 'poetry');
  const declared = Object.entries(tableAt(project, 'entry-points')).map(
    ([group, table]) => [group, isTable(table) ? table : {}] as const,
  );
  const groups: Record<string, Record<string, string>> = {};
  const add = (group: string, points: Record<string, string>): void => {
    groups[group] = { ...groups[group], ...points };
  };
  for (const [group, lines] of Object.entries(setup?.entryPoints ?? {})) add(group, pairs(lines));
  for (const [group, text] of Object.entries(config['options.entry_points'] ?? {})) add(group, pairs(text.split('\n')));
  for (const [group, table] of declared) add(group, texts(table));
  add('console_scripts', { ...texts(tableAt(poetry, 'scripts')), ...texts(tableAt(project, 'scripts')) });
  add('gui_scripts', texts(tableAt(project, 'gui-scripts')));
  return Object.fromEntries(Object.entries(groups).filter(([, points]) => Object.keys(points).length > 0));
}

function pairs(lines: readonly string[]): Record<string, string> {
  const found = lines.map((line) => /^\s*([^=\s]+)\s*=\s*(\S+)/.exec(line)).filter((match) => match !== null);
  return Object.fromEntries(found.map((match) => [match[1] ?? '', match[2] ?? '']));
}

function texts(table: TomlTable): Record<string, string> {
  return Object.fromEntries(
    Object.entries(table).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

const compilingBackends = /^(maturin|scikit_build_core|mesonpy|py_build_cmake|enscons)/;

async function buildReason(
  directory: string,
  pyproject: Pyproject | undefined,
  setup: SetupScript | undefined,
): Promise<string | null> {
  const backend = stringAt(tableAt(pyproject?.table ?? {}, 'build-system'), 'build-backend') ?? '';
  if (compilingBackends.test(backend)) return `${backend} compiles it`;
  const tool = tools(pyproject);
  if (setup?.hasExtensions || 'ext-modules' in tableAt(tool, 'setuptools')) return 'it has extension modules';
  const hooks = tableAt(tableAt(tableAt(tool, 'hatch'), 'build'), 'hooks');
  const generating = Object.keys(hooks).find((name) => !['vcs', 'version'].includes(name));
  if (generating !== undefined) return `its build runs the hook ${generating}`;
  const scm = tableAt(tool, 'setuptools_scm');
  const generated = [
    stringAt(scm, 'write_to'),
    stringAt(scm, 'version_file'),
    stringAt(tableAt(hooks, 'vcs'), 'version-file'),
  ];
  for (const path of generated.filter((one) => one !== null)) {
    if (!(await isFile(join(directory, path)))) return `its build writes ${path}`;
  }
  return null;
}
