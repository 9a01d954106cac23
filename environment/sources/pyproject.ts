import { join } from 'node:path';
import { parse, type TomlTable, type TomlValue } from 'smol-toml';
import { DomainError } from '#core/errors.ts';
import { readText } from './tree.ts';

/** What an environment needs to know of a pyproject.toml. */
export interface Pyproject {
  table: TomlTable;
  name: string | null;
  requiresPython: string | null;
  /** Requirement texts of `[project]`; null when they are dynamic or there is no such table. */
  dependencies: readonly string[] | null;
  isDynamic: boolean;
  hasProject: boolean;
  hasBuildSystem: boolean;
  usesPoetryOnly: boolean;
}

/** @throws DomainError environment-unresolvable for text that is not TOML. */
export async function readPyproject(root: string, directory = '.'): Promise<Pyproject | undefined> {
  const path = join(directory, 'pyproject.toml');
  const text = await readText(join(root, path));
  return text === undefined ? undefined : describe(parseToml(text, path));
}

export function parseToml(text: string, path: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    const said = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new DomainError('environment-unresolvable', `${path} is not valid TOML: ${said}. Correct the file.`, [
      { path, message: said ?? '', file: path },
    ]);
  }
}

function describe(table: TomlTable): Pyproject {
  const project = tableAt(table, 'project');
  const dynamic = stringsAt(project, 'dynamic') ?? [];
  const poetry = tableAt(tableAt(table, 'tool'), 'poetry');
  const isDynamic = dynamic.includes('dependencies') || dynamic.includes('optional-dependencies');
  const hasProject = Object.keys(project).length > 0;
  return {
    table,
    name: stringAt(project, 'name') ?? stringAt(poetry, 'name'),
    requiresPython: stringAt(project, 'requires-python') ?? poetryPython(poetry),
    dependencies: hasProject && !isDynamic ? (stringsAt(project, 'dependencies') ?? []) : null,
    isDynamic,
    hasProject,
    hasBuildSystem: 'build-system' in table,
    usesPoetryOnly: !hasProject && 'dependencies' in poetry,
  };
}

function poetryPython(poetry: TomlTable): string | null {
  return stringAt(tableAt(poetry, 'dependencies'), 'python');
}

/**
 * The tables that decide which packages are installed, as canonical text: a formatter's settings or a new
 * version number of the project do not change it.
 */
export function relevantText(pyproject: Pyproject): string {
  const project = tableAt(pyproject.table, 'project');
  const tool = tableAt(pyproject.table, 'tool');
  const { 'build-backend': _, ...uv } = tableAt(tool, 'uv');
  const poetry = tableAt(tool, 'poetry');
  const pick = (from: TomlTable, keys: readonly string[]): TomlTable =>
    Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])));
  return canonicalText({
    project: pick(project, ['name', 'dependencies', 'optional-dependencies', 'requires-python', 'dynamic']),
    groups: tableAt(pyproject.table, 'dependency-groups'),
    uv,
    poetry: pick(poetry, ['dependencies', 'dev-dependencies', 'group', 'source', 'extras']),
    build: pyproject.isDynamic || !pyproject.hasProject ? tableAt(pyproject.table, 'build-system') : {},
    setuptools: pyproject.isDynamic ? tableAt(tableAt(tool, 'setuptools'), 'dynamic') : {},
  });
}

/** Files that a dynamic list of dependencies is read from, relative to the project. */
export function dynamicFiles(pyproject: Pyproject): string[] {
  if (!pyproject.isDynamic) return [];
  const dynamic = tableAt(tableAt(tableAt(pyproject.table, 'tool'), 'setuptools'), 'dynamic');
  const entries = [tableAt(dynamic, 'dependencies'), ...Object.values(tableAt(dynamic, 'optional-dependencies'))];
  const named = entries.flatMap((entry) => {
    const file = isTable(entry) ? entry.file : undefined;
    return typeof file === 'string' ? [file] : (strings(file) ?? []);
  });
  return ['setup.py', 'setup.cfg', ...named];
}

/** JSON with sorted keys: one text for one value. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    isTable(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

export function tableAt(table: TomlTable, key: string): TomlTable {
  const value = table[key];
  return isTable(value) ? value : {};
}

export function tablesAt(table: TomlTable, key: string): TomlTable[] {
  const value = table[key];
  return Array.isArray(value) ? value.filter(isTable) : [];
}

export function stringAt(table: TomlTable, key: string): string | null {
  const value = table[key];
  return typeof value === 'string' ? value : null;
}

export function stringsAt(table: TomlTable, key: string): string[] | undefined {
  return strings(table[key]);
}

function strings(value: TomlValue | undefined): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : undefined;
}

export function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
