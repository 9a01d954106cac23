// What a package runs while it is built must not run as the server. Needs root, because only root can give an account away.
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilder } from '#activities/runners/stage-user.ts';
import { createContext, type EnvironmentContext } from '#environment/context.ts';
import { environmentIdentity, environmentKey } from '#environment/key.ts';
import { removeTree } from '#environment/process/trees.ts';
import { materialise } from '#environment/materialise.ts';
import { selectInterpreter } from '#environment/python/select-interpreter.ts';
import { resolve } from '#environment/resolve.ts';
import { findSource } from '#environment/sources/find-source.ts';

const isRoot = process.getuid?.() === 0;

let home: string;
let context: EnvironmentContext;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-builder-'));
  await chmod(home, 0o711);
  context = createContext({ cacheDir: join(home, 'cache'), variables: process.env, builder: await ensureBuilder() });
});

afterAll(async () => {
  await removeTree(home);
});

/** Tells who runs it, and tries what root could do. */
const setup = `
import os, setuptools
with open("/tmp/assay-builder-uid-" + os.environ["USER"], "w") as file:
    file.write(str(os.getuid()))
setuptools.setup(name="told", version="1.0", install_requires=["iniconfig==2.0.0"])
`;

describe.skipIf(!isRoot)('as root', () => {
  it('a setup.py runs as the builder, and what was installed belongs to root and is read-only', async () => {
    const root = join(home, 'tree');
    await mkdir(root);
    await writeFile(join(root, 'setup.py'), setup);
    const source = await findSource(root, {});
    const { interpreter } = await selectInterpreter(context, source.python);
    const lock = await resolve(context, { root, source, interpreter });
    expect(lock.text).toContain('iniconfig==2.0.0');
    const told = '/tmp/assay-builder-uid-assay-build';
    expect(Number(await readFile(told, 'utf8'))).toBe(context.builder?.uid);
    await rm(told);
    const key = environmentKey(environmentIdentity(lock.sha256, interpreter));
    const built = await materialise(context, { environmentKey: key, lock, interpreter });
    const { uid, mode } = await stat(join(built.path, 'lib'));
    expect([uid, mode & 0o222]).toEqual([0, 0]);
  });
});
