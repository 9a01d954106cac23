// A place of its own for one test file: a cache, folders for checkouts, and an index made of wheels on disk, so
// that nothing but uv itself comes from outside.
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createEnvironments, type Environments } from '#environment/environments.ts';
import type { EnvironmentOptions } from '#environment/context.ts';
import { removeTree } from '#environment/process/trees.ts';

export interface Workshop {
  dir: string;
  index: string;
  environments: Environments;
  /** A further instance, as another process of the same machine has it. */
  again(options?: Partial<EnvironmentOptions>): Environments;
  checkout(files: Readonly<Record<string, string>>): Promise<string>;
  wheel(name: string, version: string, content?: WheelContent): string;
  remove(): Promise<void>;
}

interface WheelContent {
  requires?: readonly string[];
  module?: string;
  commands?: readonly string[];
}

const wheelScript = `
import json, sys, zipfile
folder, name, version, content = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
info = f'{name}-{version}.dist-info'
path = f'{folder}/{name}-{version}-py3-none-any.whl'
metadata = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}']
metadata += [f'Requires-Dist: {one}' for one in content.get('requires', [])]
files = {
    f'{name}.py': content.get('module', f"version = '{version}'\\n"),
    f'{info}/METADATA': '\\n'.join(metadata) + '\\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    f'{info}/entry_points.txt': '[console_scripts]\\n' + '\\n'.join(content.get('commands', [])) + '\\n',
}
files[f'{info}/RECORD'] = ''.join(f'{one},,\\n' for one in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(path, 'w') as archive:
    for one, text in files.items():
        archive.writestr(zipfile.ZipInfo(one, (2020, 1, 1, 0, 0, 0)), text)
print(path)
`;

export async function createWorkshop(): Promise<Workshop> {
  const uv = await sharedUv();
  const dir = await mkdtemp(join(tmpdir(), 'assay-environment-'));
  const index = join(dir, 'index');
  await mkdir(index);
  const again = (options: Partial<EnvironmentOptions> = {}): Environments =>
    createEnvironments({
      cacheDir: join(dir, 'cache'),
      variables: process.env,
      uvPath: uv,
      index: { noIndex: true, findLinks: [index] },
      pythonDownloads: false,
      gitProtocols: 'https:ssh:file',
      ...options,
    });
  return {
    dir,
    index,
    environments: again(),
    again,
    checkout: async (files) => {
      const root = await mkdtemp(join(dir, 'checkout-'));
      await writeTree(root, files);
      return root;
    },
    wheel: (name, version, content = {}) => python(wheelScript, index, name, version, JSON.stringify(content)).trim(),
    remove: () => removeTree(dir),
  };
}

export async function writeTree(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

export function python(script: string, ...args: string[]): string {
  return execFileSync('python3', ['-c', script, ...args], { encoding: 'utf8' });
}

/** Installed once per machine: the only thing that the tests take from an index. */
export async function sharedUv(): Promise<string> {
  const cacheDir = join(tmpdir(), 'assay-test-uv');
  return (await createEnvironments({ cacheDir, variables: process.env }).installUv()).path;
}

/** A build backend inside the repository, so that a build needs no index. */
export const ownBackend = {
  'pyproject.toml': `
[project]
name = "homemade"
version = "1.5"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
`,
  'homemade.py': 'answer = 42\n',
  'backend.py': `
import zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = 'homemade-1.5-py3-none-any.whl'
    info = 'homemade-1.5.dist-info'
    with zipfile.ZipFile(f'{wheel_directory}/{name}', 'w') as archive:
        archive.write('homemade.py')
        archive.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\\nName: homemade\\nVersion: 1.5\\n')
        archive.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        archive.writestr(f'{info}/RECORD', '')
    return name
`,
};
