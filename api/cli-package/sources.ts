// What the command line is made of: all that cli/main.ts imports, file by file, and the packages these files name. It is
// found by following the imports, so that nothing is listed by hand and nothing of the server comes along.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = 'api/cli-package';
const entry = 'cli/main.ts';
const digestLength = 12;

export interface CliSources {
  /** TypeScript by its path in the tree, in the order of the paths. */
  files: ReadonlyMap<string, string>;
  /** Exact versions of what the files import from elsewhere, as the lock has them. */
  dependencies: Readonly<Record<string, string>>;
  /** The other files of the package, by their path there. */
  texts: Readonly<Record<string, string>>;
  manifest: Readonly<Record<string, unknown>>;
  /** The server's version with the digest of all of this, for example 0.1.0+5f0c2a9e41d7. */
  version: string;
}

/** An import that stays in the emitted JavaScript; `import type` does not. */
const importPattern =
  /^(\s*(?:import|export)\s+(?!type\b)(?:[\w*{][^'";]*?\bfrom\s+)?|[^\n]*?\bimport\(\s*)(['"])([^'"\n]+)\2/gm;

/** Gives every imported name to `rename`, which answers with the one that shall stand there. */
export function mapImports(code: string, rename: (from: string) => string): string {
  return code.replaceAll(importPattern, (_all, before: string, quote: string, from: string) => {
    return `${before}${quote}${rename(from)}${quote}`;
  });
}

export async function readSources(): Promise<CliSources> {
  const { files, packages } = await followImports();
  const lock = JSON.parse(await read('package-lock.json')) as Lock;
  const dependencies = Object.fromEntries([...packages].toSorted().map((name) => [name, lockedVersion(lock, name)]));
  const manifest = JSON.parse(await read('package.json')) as { version: string };
  const texts = {
    LICENSE: await read('LICENSE'),
    'README.md': await read(`${here}/README.md`),
    'assay.mjs': await read(`${here}/assay.mjs`),
  };
  const digest = createHash('sha256').update(JSON.stringify([[...files], dependencies, manifest, texts]));
  for (const name of (await readdir(join(root, here))).toSorted()) digest.update(await read(`${here}/${name}`));
  const version = `${manifest.version}+${digest.digest('hex').slice(0, digestLength)}`;
  return { files, dependencies, texts, manifest: { ...manifest }, version };
}

async function followImports(): Promise<{ files: Map<string, string>; packages: Set<string> }> {
  const found = new Map<string, string>();
  const packages = new Set<string>();
  let next = [entry];
  while (next.length > 0) {
    const texts = await Promise.all(next.map(async (path) => [path, await read(path)] as const));
    for (const [path, text] of texts) found.set(path, text);
    const targets = texts.flatMap(([path, text]) => importsOf(text).map((from) => ({ path, from })));
    for (const { from } of targets) if (isPackage(from)) packages.add(packageName(from));
    const ours = targets.filter(({ from }) => /^[#.]/.test(from)).map(({ path, from }) => targetOf(path, from));
    next = [...new Set(ours)].filter((path) => !found.has(path));
  }
  const files = new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { files, packages };
}

function importsOf(text: string): string[] {
  const found: string[] = [];
  mapImports(text, (from) => {
    found.push(from);
    return from;
  });
  return found;
}

function isPackage(from: string): boolean {
  return !/^(?:[#.]|node:)/.test(from);
}

function packageName(from: string): string {
  return from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/');
}

function targetOf(path: string, from: string): string {
  return from.startsWith('#') ? from.slice(1) : posix.join(dirname(path), from);
}

interface Lock {
  packages: Record<string, { version: string } | undefined>;
}

function lockedVersion({ packages }: Lock, name: string): string {
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`The command line imports ${name}, which package-lock.json does not hold.`);
  return locked.version;
}

async function read(path: string): Promise<string> {
  return readFile(join(root, path), 'utf8');
}
