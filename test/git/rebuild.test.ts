// A tree that the mirror does not have, made again from its archive.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createRepository,
  openMirrors,
  removeTemporary,
  roomy,
  type TestMirrors,
  writeProject,
} from './repositories.ts';

const project = 'p1';
let archive: Buffer;
let tree = '';
let listed: Awaited<ReturnType<TestMirrors['listTree']>>;

beforeAll(async () => {
  const repository = await createRepository();
  await writeProject(repository);
  await repository.write('odd/"quoted" \\ and\ttab', 'odd');
  await repository.write('odd/two\nlines', 'odd');
  await repository.write('odd/ümlaut', 'odd');
  await repository.write('empty', '');
  await repository.write('large.bin', Buffer.alloc(3 * 1024 ** 2, 7));
  await repository.link('odd/link', '../empty');
  const commit = repository.commit('files of every kind');
  tree = repository.git(['rev-parse', `${commit}^{tree}`]);
  const mirrors = await openMirrors({ limits: roomy });
  await mirrors.ingestBundle(project, await repository.bundle({ tips: [commit] }), commit);
  archive = await buffer(await mirrors.archive(project, commit));
  listed = await mirrors.listTree(project, commit);
});
afterAll(removeTemporary);

const stored = async () => Readable.from([archive]);

describe('a tree', () => {
  test('is made again in a mirror that never had it, and read as before', async () => {
    const mirrors = await openMirrors({ limits: roomy });
    expect(await mirrors.ensureTree(project, tree, stored)).toBe(true);
    expect(await mirrors.listTree(project, tree)).toEqual(listed);
    expect((await buffer(await mirrors.archive(project, tree))).equals(archive)).toBe(true);
    expect((await mirrors.readFile(project, tree, 'odd/two\nlines', 100))?.toString()).toBe('odd');
    const never = () => Promise.reject(new Error('asked for what is there'));
    expect(await mirrors.ensureTree(project, tree, never)).toBe(false);
    await rm(join(mirrors.rootDir, `${project}.git`), { recursive: true });
    expect(await mirrors.ensureTree(project, tree, stored)).toBe(true);
    expect((await mirrors.listTree(project, tree)).length).toBe(listed.length);
  });

  test('of another archive, or of one that is cut off, does not enter the mirror', async () => {
    const mirrors = await openMirrors({ limits: roomy });
    const other = 'a'.repeat(40);
    await expect(mirrors.ensureTree(project, other, stored)).rejects.toThrow(/source is of the tree .* was not used/);
    const cut = async () => Readable.from([archive.subarray(0, 700)]);
    await expect(mirrors.ensureTree(project, tree, cut)).rejects.toThrow();
    await expect(mirrors.listTree(project, tree)).rejects.toMatchObject({ code: 'commit-not-found' });
  });
});
