// `npm run build:cli`: the command line as a package of JavaScript, in dist/assay.tgz or the path that is given. A process
// of its own, because the program that takes the types out needs 60 MB that a server would keep.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { dirname } from 'node:path';
import { type CliSources, mapImports, readSources } from './sources.ts';
import { type PackedFile, packTarball } from './tarball.ts';

/** The first release that has `node:sqlite`, the lock of environment/. assay.mjs says the same. */
const nodeMin = '22.13';

const path = process.argv[2] ?? 'dist/assay.tgz';
const sources = await readSources();
const bytes = await packTarball(filesOf(sources));
await mkdir(dirname(path), { recursive: true });
const draft = `${path}.${process.pid}`;
await writeFile(draft, bytes);
await rename(draft, path);
process.stdout.write(`${path}: assay ${sources.version}, ${bytes.length} bytes\n`);

function filesOf(given: CliSources): PackedFile[] {
  const programs = [...given.files].map(([from, text]) => ({ path: emittedName(from), text: emit(text) }));
  const texts = Object.entries(given.texts).map(([name, text]) => ({
    path: name,
    text,
    isProgram: name.endsWith('.mjs'),
  }));
  return [...programs, ...texts, { path: 'package.json', text: `${JSON.stringify(manifestOf(given), null, 2)}\n` }];
}

/** Types become spaces, as when Node runs the source itself, so lines and columns in a stack trace are those of the source. */
function emit(text: string): string {
  return mapImports(stripTypeScriptTypes(text), emittedName);
}

function emittedName(path: string): string {
  return path.replace(/\.ts$/, '.js');
}

function manifestOf({ manifest, version, dependencies }: CliSources): Record<string, unknown> {
  const { name, license } = manifest;
  return {
    name,
    version,
    description: 'The command line of an Assay server.',
    license,
    private: true,
    type: 'module',
    engines: { node: `>=${nodeMin}` },
    bin: { assay: './assay.mjs' },
    imports: { '#*': './*' },
    dependencies,
  };
}
