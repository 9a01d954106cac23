import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { normalName } from '#environment/sources/uv-lock.ts';
import type { PackageMetadata } from './package-metadata.ts';

/** The parts of a virtual environment that an installation writes to. */
export interface VenvPlaces {
  sitePackages: string;
  binDir: string;
  python: string;
}

/**
 * Makes a package importable from its sources: its directories on the path after the standard library, its
 * metadata for importlib.metadata, its commands. Nothing is written beside the sources.
 */
export async function installEditable(venv: VenvPlaces, directory: string, metadata: PackageMetadata): Promise<void> {
  const name = metadata.name === null ? 'project' : normalName(metadata.name).replaceAll('-', '_');
  const roots = metadata.importRoots.map((root) => resolve(directory, root));
  await writeFile(join(venv.sitePackages, `_assay_${name}.pth`), `${roots.join('\n')}\n`);
  if (metadata.name !== null) await writeDistInfo(venv, directory, metadata, name);
  for (const [command, target] of Object.entries(metadata.entryPoints.console_scripts ?? {})) {
    await writeCommand(venv, command, target);
  }
}

async function writeDistInfo(
  venv: VenvPlaces,
  directory: string,
  metadata: PackageMetadata,
  name: string,
): Promise<void> {
  const folder = join(venv.sitePackages, `${name}-${metadata.version}.dist-info`);
  await mkdir(folder, { recursive: true });
  const origin = { url: pathToFileURL(directory).href, dir_info: { editable: true } };
  const files = {
    METADATA: metadataText(metadata),
    INSTALLER: 'assay\n',
    RECORD: '',
    'direct_url.json': JSON.stringify(origin),
    'entry_points.txt': entryPointsText(metadata),
  };
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
}

function metadataText({ name, version, requires }: PackageMetadata): string {
  const lines = ['Metadata-Version: 2.1', `Name: ${name}`, `Version: ${version}`];
  return `${[...lines, ...requires.map((requirement) => `Requires-Dist: ${requirement}`)].join('\n')}\n`;
}

function entryPointsText({ entryPoints }: PackageMetadata): string {
  const groups = Object.entries(entryPoints).map(([group, points]) => {
    const lines = Object.entries(points).map(([name, target]) => `${name} = ${target}`);
    return `[${group}]\n${lines.join('\n')}\n`;
  });
  return groups.join('\n');
}

/** A command in a form that does not depend on the length of the path of its Python. */
async function writeCommand(venv: VenvPlaces, command: string, target: string): Promise<void> {
  const found = /^([\w.]+)(?::([\w.]+))?/.exec(target);
  if (found === null || !/^[\w.+-]+$/.test(command)) return;
  const [module, attribute] = [found[1] ?? '', found[2]];
  const call = attribute === undefined ? `import ${module}` : `from ${module} import ${attribute.split('.')[0]}`;
  const text = [
    '#!/bin/sh',
    `'''exec' '${venv.python.replaceAll("'", `'"'"'`)}' "$0" "$@"`,
    "' '''",
    'import sys',
    call,
    "if __name__ == '__main__':",
    attribute === undefined ? '    sys.exit(0)' : `    sys.exit(${attribute}())`,
    '',
  ].join('\n');
  const path = join(venv.binDir, command);
  await writeFile(path, text);
  await chmod(path, 0o755);
}
