// Poetry's own dependency tables as requirement lines, for projects without a `[project]` table. Poetry itself
// is not asked: in its non-package mode it refuses to describe the project.
import type { TomlTable, TomlValue } from 'smol-toml';
import { isTable, type Pyproject, stringAt, stringsAt, tableAt } from './pyproject.ts';

/** What `poetry install` installs: the main dependencies and those of every group that is not optional. */
export function poetryRequirements(pyproject: Pyproject): string[] {
  const poetry = tableAt(tableAt(pyproject.table, 'tool'), 'poetry');
  const groups = Object.values(tableAt(poetry, 'group')).filter((group) => isTable(group) && group.optional !== true);
  const tables = [
    tableAt(poetry, 'dependencies'),
    tableAt(poetry, 'dev-dependencies'),
    ...groups.map((group) => tableAt(group as TomlTable, 'dependencies')),
  ];
  return tables.flatMap((table) => Object.entries(table).flatMap(([name, value]) => requirements(name, value)));
}

function requirements(name: string, value: TomlValue): string[] {
  if (name === 'python') return [];
  if (typeof value === 'string') return [`${name}${versionText(value)}`];
  if (Array.isArray(value)) return value.flatMap((item) => requirements(name, item));
  return isTable(value) && value.optional !== true ? [requirement(name, value)] : [];
}

function requirement(name: string, table: TomlTable): string {
  const extras = stringsAt(table, 'extras') ?? [];
  const named = extras.length > 0 ? `${name}[${extras.join(',')}]` : name;
  const marker = markerText(table);
  const git = stringAt(table, 'git');
  if (git !== null) return `${named} @ ${gitAddress(git, table)}${marker}`;
  const path = stringAt(table, 'path');
  if (path !== null) return `./${path.replace(/^\.\//, '')}`;
  const url = stringAt(table, 'url');
  if (url !== null) return `${named} @ ${url}${marker}`;
  return `${named}${versionText(stringAt(table, 'version') ?? '*')}${marker}`;
}

function gitAddress(git: string, table: TomlTable): string {
  const reference = stringAt(table, 'rev') ?? stringAt(table, 'tag') ?? stringAt(table, 'branch');
  const subdirectory = stringAt(table, 'subdirectory');
  const scp = /^[\w.-]+@([\w.-]+):(?!\/\/)(.*)$/.exec(git);
  const address = scp === null ? git : `ssh://${git.split('@')[0]}@${scp[1]}/${scp[2]}`;
  return `git+${address}${reference ? `@${reference}` : ''}${subdirectory ? `#subdirectory=${subdirectory}` : ''}`;
}

function markerText(table: TomlTable): string {
  const python = stringAt(table, 'python');
  const clauses = [
    ...(python === null ? [] : pythonMarkers(python)),
    ...[stringAt(table, 'markers')].filter((marker) => marker !== null).map((marker) => `(${marker})`),
    ...[stringAt(table, 'platform')].filter((name) => name !== null).map((name) => `sys_platform == '${name}'`),
  ];
  return clauses.length === 0 ? '' : ` ; ${clauses.join(' and ')}`;
}

function pythonMarkers(text: string): string[] {
  return versionText(text)
    .trim()
    .split(',')
    .map((clause) => /^(===|==|!=|<=|>=|~=|<|>)(.*)$/.exec(clause))
    .flatMap((found) => (found === null ? [] : [`python_version ${found[1]} '${found[2]}'`]));
}

/** Poetry's carets and tildes in the standard notation. */
function versionText(text: string): string {
  if (text.trim() === '*' || text.trim() === '') return '';
  return text
    .split(',')
    .map((part) => clauseText(part.trim()))
    .join(',');
}

function clauseText(clause: string): string {
  const found = /^(\^|~(?!=))\s*(\d+(?:\.\d+)*)(.*)$/.exec(clause);
  if (found !== null) {
    const release = (found[2] ?? '').split('.').map(Number);
    const kept =
      found[1] === '^'
        ? Math.max(
            0,
            release.findIndex((part) => part > 0),
          )
        : Math.min(1, release.length - 1);
    const upper = release.slice(0, kept + 1).map((part, index) => (index === kept ? part + 1 : part));
    return `>=${found[2]}${found[3]},<${upper.join('.')}`;
  }
  return /^\d/.test(clause) ? `==${clause}` : clause.replace(/\s+/g, '');
}
