// The tree against ARCHITECTURE.md: who imports whom, and the habits that a machine can check.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const notOurs = new Set(['node_modules', 'dist', 'examples', 'migrations', 'histories', '__pycache__']);
/** Folders that the table leaves free to import anything. */
const free = new Set(['test', 'bench']);

const files = walk(root);
const sources = files.filter((file) => /\.(ts|mjs)$/.test(file) && !file.endsWith('.d.ts'));
const architecture = read('ARCHITECTURE.md');
const table = importTable(architecture);

describe('the import table', () => {
  it('has a row for every folder with code', () => {
    const folders = new Set(sources.filter((file) => file.includes('/')).map(folderOf));
    expect([...folders].filter((folder) => !table.has(folder) && !free.has(folder))).toEqual([]);
  });

  it('is kept by every import across folders', () => {
    const broken = sources
      .filter((file) => !free.has(folderOf(file)) && file.includes('/'))
      .flatMap((file) =>
        importsOf(file)
          .filter((item) => !isAllowed(file, item))
          .map((item) => `${file} → ${item.from}`),
      );
    expect(broken).toEqual([]);
  });

  it('gives core nothing but itself: no package, no Node, no clock, no chance', () => {
    const core = sources.filter((file) => folderOf(file) === 'core');
    const outside = core.flatMap((file) =>
      importsOf(file)
        .filter(({ from }) => !from.startsWith('./'))
        .map(({ from }) => `${file} → ${from}`),
    );
    const impure =
      /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bprocess\.|\bcrypto\.|\bfetch\(|\bsetTimeout\(|\bconsole\./;
    expect([...outside, ...core.filter((file) => impure.test(codeOf(file)))]).toEqual([]);
  });

  it('keeps Node out of workflows', () => {
    const workflows = sources.filter((file) => folderOf(file) === 'workflows');
    expect(workflows.filter((file) => importsOf(file).some(({ from }) => from.startsWith('node:')))).toEqual([]);
  });
});

describe('an import', () => {
  it('is spelled #folder/file.ts across folders and ./ inside one, never ../..', () => {
    const misspelled = sources.flatMap((file) =>
      importsOf(file)
        .filter(({ from }) => from.startsWith('.'))
        .filter(({ from }) => from.startsWith('../..') || folderOf(targetOf(file, from)) !== folderOf(file))
        .map(({ from }) => `${file} → ${from}`),
    );
    expect(misspelled).toEqual([]);
  });

  it('names a file that exists', () => {
    const known = new Set(files);
    const dangling = sources.flatMap((file) =>
      importsOf(file)
        .filter(({ from }) => /^[.#]/.test(from) && !known.has(targetOf(file, from)))
        .map(({ from }) => `${file} → ${from}`),
    );
    expect(dangling).toEqual([]);
  });
});

describe('every file', () => {
  it('is used by another one, or is started by itself', () => {
    const texts = sources.map((file) => ({ file, text: read(file) }));
    const imported = new Set(sources.flatMap((file) => importsOf(file).map(({ from }) => targetOf(file, from))));
    const manifest = ['package.json', 'knip.json', 'vitest.config.ts', 'drizzle.config.ts'].map(read).join('\n');
    const isStarted = (file: string) =>
      manifest.includes(file) ||
      isEntry.test(file) ||
      // A file that runs in a process or a bundle of its own is named in a string.
      texts.some((other) => other.file !== file && other.text.includes(`${file.split('/').at(-1)}'`));
    const unused = sources.filter((file) => file.includes('/') && !imported.has(file) && !isStarted(file));
    expect(unused).toEqual([]);
  });

  it('has a kebab-case name, and so has every folder', () => {
    const named = files.filter((file) => /\.(ts|mjs|sql)$/.test(file) && !file.endsWith('.d.ts'));
    const isKebab = (name: string) =>
      /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:test|config))?(?:\.(?:ts|mjs|sql))?$/.test(name);
    expect(named.filter((file) => !file.split('/').every(isKebab))).toEqual([]);
  });

  it('lies in a folder that says what it is about', () => {
    const empty = new Set([
      'utils',
      'util',
      'common',
      'shared',
      'helpers',
      'helper',
      'manager',
      'managers',
      'misc',
      'lib',
    ]);
    const vague = sources.filter((file) =>
      file
        .replace(/\.\w+$/, '')
        .split('/')
        .some((part) => empty.has(part)),
    );
    expect(vague).toEqual([]);
  });

  it('exports by name', () => {
    const byDefault = sources.filter((file) => !file.endsWith('.config.ts') && /^export default\b/m.test(read(file)));
    expect(byDefault).toEqual([]);
  });

  it('is finished', () => {
    const leftover = new RegExp(
      `\\b(?:${['TO', 'FIX', 'X', 'HA'].map((a, i) => a + ['DO', 'ME', 'XX', 'CK'][i]).join('|')})\\b`,
    );
    const texts = files.filter(
      (file) => /\.(ts|mjs|py|md|sql|yaml|yml|json)$/.test(file) && file !== 'package-lock.json',
    );
    expect(texts.filter((file) => leftover.test(read(file)))).toEqual([]);
  });
});

describe('ARCHITECTURE.md', () => {
  it('is short enough to be read', () => {
    expect(architecture.split('\n').length).toBeLessThanOrEqual(200);
  });

  it('names every folder with code', () => {
    const folders = [...new Set(sources.filter((file) => file.includes('/')).map(folderOf))];
    expect(folders.filter((folder) => !architecture.includes(`${folder}/`))).toEqual([]);
  });
});

const isEntry =
  /^(?:test\/.*\.test\.ts|bench\/[^/]+\.ts|db\/schema\/[^/]+\.ts|(?:api|worker|cli|embedded)\/main\.ts|workflows\/index\.ts)$/;

interface Import {
  from: string;
  isType: boolean;
}

interface Permission {
  folder: string;
  typesOnly: boolean;
  /** The only file that may be imported. */
  file: string | null;
  /** The only files that may import. */
  by: string[] | null;
}

function importTable(text: string): Map<string, Permission[]> {
  const between = /<!-- imports:begin -->([\s\S]*?)<!-- imports:end -->/.exec(text)?.[1] ?? '';
  const rows = between.split('\n').flatMap((line) => {
    const [, level, folder, allowed] = line.split('|').map((cell) => cell.trim());
    return /^\d+$/.test(level ?? '') && folder
      ? [[folder.replaceAll('`', ''), permissions(allowed ?? '')] as const]
      : [];
  });
  if (rows.length === 0) throw new Error('ARCHITECTURE.md has no import table between its markers');
  return new Map(rows);
}

function permissions(cell: string): Permission[] {
  return [...cell.matchAll(/`([\w-]+)(?: \(([^)]*)\))?`/g)].map(([, folder = '', note = '']) => ({
    folder,
    typesOnly: note === 'types',
    file: /^[\w.-]+\.ts$/.test(note) ? note : null,
    by: /^in (.+)$/.exec(note)?.[1]?.split(', ') ?? null,
  }));
}

function isAllowed(file: string, { from, isType }: Import): boolean {
  if (!from.startsWith('#')) return true;
  const [folder = '', ...rest] = from.slice(1).split('/');
  if (folder === folderOf(file)) return dirname(from.slice(1)) !== dirname(file);
  const permission = table.get(folderOf(file))?.find((candidate) => candidate.folder === folder);
  if (!permission) return false;
  if (permission.typesOnly && !isType) return false;
  if (permission.file !== null && rest.join('/') !== permission.file) return false;
  return permission.by === null || permission.by.some((name) => file === `${folderOf(file)}/${name}`);
}

const importPattern =
  /^\s*(?:import|export)\s+(type\s+)?((?:[\w*{][^'";]*?)?)from\s+['"]([^'"]+)['"]|^\s*import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function importsOf(file: string): Import[] {
  return [...codeOf(file).matchAll(importPattern)].flatMap(([, typed, names = '', from, effect, dynamic]) => {
    const target = from ?? effect ?? dynamic;
    return target === undefined ? [] : [{ from: target, isType: typed !== undefined || allTypes(names) }];
  });
}

function allTypes(names: string): boolean {
  const list =
    /\{([^}]*)\}/
      .exec(names)?.[1]
      ?.split(',')
      .map((name) => name.trim())
      .filter(Boolean) ?? [];
  return list.length > 0 && list.every((name) => name.startsWith('type ')) && /^\s*\{/.test(names);
}

/** The text without comments, so that prose about imports is not taken for one. */
function codeOf(file: string): string {
  return read(file).replaceAll(/^\s*\/\/.*$|\/\*[\s\S]*?\*\//gm, '');
}

function targetOf(file: string, from: string): string {
  if (from.startsWith('#')) return from.slice(1);
  return from.startsWith('.') ? relative(root, resolve(root, dirname(file), from)) : from;
}

function folderOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : '';
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.') || notOurs.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : [relative(root, path)];
  });
}
