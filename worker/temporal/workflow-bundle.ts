// The workflows' code as one file, built once per version of their sources: building takes seconds at every start.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const script = fileURLToPath(new URL('./bundle-workflows.ts', import.meta.url));
/** All that workflows can be made of: their import rule allows no other folder. */
const sources = ['workflows', 'core'];

/** Returns the path of the bundle, in the home's cache. The caller holds the home's lock. */
export async function cachedWorkflowBundle(home: string, say: (line: string) => void): Promise<{ codePath: string }> {
  const folder = join(home, 'cache');
  const name = `workflows-${await sourcesDigest()}.js`;
  const codePath = join(folder, name);
  await mkdir(folder, { recursive: true });
  if (!(await exists(codePath))) {
    say('Bundling the workflows; this is needed once per version.');
    await promisify(execFile)(process.execPath, [script, `${codePath}.new`]);
    await rename(`${codePath}.new`, codePath);
  }
  const old = (await readdir(folder)).filter((entry) => entry.startsWith('workflows-') && entry !== name);
  for (const entry of old) await rm(join(folder, entry));
  return { codePath };
}

async function sourcesDigest(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(root, 'package-lock.json')));
  for (const folder of sources) {
    const files = (await readdir(join(root, folder), { recursive: true })).filter((file) => file.endsWith('.ts'));
    for (const file of files.toSorted()) {
      hash.update(`\0${folder}/${file}\0`).update(await readFile(join(root, folder, file)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
