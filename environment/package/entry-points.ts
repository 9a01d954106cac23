import type { TomlTable } from 'smol-toml';
import { isTable, tableAt } from '#environment/sources/pyproject.ts';
import { type Statements, tools } from './statements.ts';

export type EntryPoints = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Group → name → target, from every file that may declare them. */
export function readEntryPoints({ pyproject, setup, config }: Statements): EntryPoints {
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
