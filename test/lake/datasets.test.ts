import { mkdir, readFile, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createDatasetVersion,
  getDataset,
  listDatasetVersions,
  listDatasets,
  materialiseDataset,
} from '#lake/datasets.ts';
import { keepBlob } from '#storage/keep.ts';
import { type TestLake, createTestLake } from './lake.ts';

let lake: TestLake;

beforeAll(async () => {
  lake = await createTestLake();
});
afterAll(() => lake?.remove());

async function upload(files: Record<string, string>) {
  return Promise.all(
    Object.entries(files).map(async ([path, text]) => ({
      path,
      ...(await keepBlob(lake.db, lake.store, Buffer.from(text))),
    })),
  );
}

const add = async (name: string, files: Record<string, string>) =>
  createDatasetVersion(lake, { name, files: await upload(files), by: 'tester' });

describe('a dataset', () => {
  it('is a numbered series of folders, and the same files again are the same version', async () => {
    const first = await add('pets', { 'cats/a.txt': 'a', 'b.txt': 'bb' });
    const same = await add('pets', { 'b.txt': 'bb', 'cats/a.txt': 'a' });
    const second = await add('pets', { 'b.txt': 'changed' });
    expect(first).toMatchObject({ name: 'pets', version: 1, files: 2, sizeBytes: 3, unchanged: false });
    expect(same).toMatchObject({ version: 1, unchanged: true, digest: first.digest });
    expect(second).toMatchObject({ version: 2, unchanged: false });
    expect(second.committedAt > first.committedAt).toBe(true);
    expect(await listDatasets(lake)).toMatchObject([{ name: 'pets', version: 2 }]);
    expect((await listDatasetVersions(lake, 'pets')).map(({ version }) => version)).toEqual([2, 1]);
  });

  it('is found by version and as of a time', async () => {
    const [second, first] = await listDatasetVersions(lake, 'pets');
    expect(await getDataset(lake, 'pets')).toMatchObject({ version: 2, contents: [{ path: 'b.txt' }] });
    expect(await getDataset(lake, 'pets', { asOf: first?.committedAt ?? '' })).toMatchObject({ version: 1 });
    expect(await getDataset(lake, 'pets', { asOf: second?.committedAt ?? '' })).toMatchObject({ version: 2 });
    expect(await getDataset(lake, 'pets', { version: 1 })).toMatchObject({
      contents: [{ path: 'b.txt' }, { path: 'cats/a.txt' }],
    });
    await expect(getDataset(lake, 'pets', { asOf: '2001-01-01' })).rejects.toMatchObject({ code: 'dataset-not-found' });
    await expect(getDataset(lake, 'pets', { asOf: '2999-01-01' })).rejects.toMatchObject({ code: 'as-of-in-future' });
    await expect(getDataset(lake, 'pets', { version: 3 })).rejects.toMatchObject({
      message: expect.stringContaining('newest is 2') as string,
    });
    await expect(getDataset(lake, 'petz')).rejects.toMatchObject({
      message: expect.stringContaining('"pets"') as string,
    });
  });

  it('is written out as private files that may be changed', async () => {
    const destDir = join(lake.scratch, 'out');
    await mkdir(destDir);
    const version = await materialiseDataset(lake, { name: 'pets', version: 1, destDir });
    expect(version).toMatchObject({ version: 1, files: 2 });
    expect((await readdir(destDir, { recursive: true })).toSorted()).toEqual(['b.txt', 'cats', join('cats', 'a.txt')]);
    expect(await readFile(join(destDir, 'cats', 'a.txt'), 'utf8')).toBe('a');
    expect((await stat(join(destDir, 'b.txt'))).mode & 0o200).toBe(0o200);
  });

  it('is never written through a link that leads elsewhere', async () => {
    const destDir = join(lake.scratch, 'linked');
    const elsewhere = join(lake.scratch, 'elsewhere');
    await mkdir(destDir);
    await mkdir(elsewhere);
    await symlink(elsewhere, join(destDir, 'cats'));
    await add('deep', { 'cats/young/a.txt': 'a' });
    const written = materialiseDataset(lake, { name: 'deep', destDir });
    await expect(written).rejects.toMatchObject({ code: 'invalid-request' });
    expect(await readdir(elsewhere)).toEqual([]);
  });

  it('names the files that are not stored yet', async () => {
    const [kept] = await upload({ 'kept.txt': 'kept' });
    const missing = 'ab'.repeat(32);
    const files = [
      kept as { path: string; sha256: string; sizeBytes: number },
      { path: 'gone.txt', sha256: missing, sizeBytes: 1 },
    ];
    await expect(createDatasetVersion(lake, { name: 'partial', files, by: 'tester' })).rejects.toMatchObject({
      code: 'blob-missing',
      details: [{ path: missing }],
    });
    expect((await listDatasets(lake)).map(({ name }) => name)).not.toContain('partial');
  });

  it('refuses a size that is not the blob’s', async () => {
    const [file] = await upload({ 'x.txt': 'abc' });
    const files = [{ path: 'x.txt', sha256: file?.sha256 ?? '', sizeBytes: 4 }];
    await expect(createDatasetVersion(lake, { name: 'sizes', files, by: 'tester' })).rejects.toMatchObject({
      code: 'invalid-request',
    });
  });

  it.each([
    '',
    '/etc/passwd',
    '../x',
    'a/../../x',
    'a/./b',
    'a//b',
    'a/',
    'a\\..\\b',
    'a\nb',
    'a\0b',
    'x\u007f',
    'a'.repeat(256),
    `${'a/'.repeat(600)}b`,
    '\ud800',
  ])('refuses the path %j', async (path) => {
    const [file] = await upload({ x: 'abc' });
    const files = [{ path, sha256: file?.sha256 ?? '', sizeBytes: 3 }];
    await expect(createDatasetVersion(lake, { name: 'paths', files, by: 'tester' })).rejects.toMatchObject({
      code: 'invalid-request',
    });
  });

  it('refuses a path named twice and a file where a folder is needed', async () => {
    const [file] = await upload({ x: 'abc' });
    const at = (path: string) => ({ path, sha256: file?.sha256 ?? '', sizeBytes: 3 });
    for (const files of [[at('a'), at('a')], [at('a'), at('a/b')], []]) {
      await expect(createDatasetVersion(lake, { name: 'paths', files, by: 'tester' })).rejects.toMatchObject({
        code: 'invalid-request',
      });
    }
  });

  it('numbers versions without gaps when many are added at once', async () => {
    const added = await Promise.all(Array.from({ length: 8 }, (_, n) => add('raced', { 'n.txt': `${n}` })));
    expect(added.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const byVersion = added.toSorted((a, b) => a.version - b.version).map(({ committedAt }) => committedAt);
    expect(byVersion).toEqual(byVersion.toSorted());
    expect(new Set(byVersion).size).toBe(8);
  });

  it('takes tens of thousands of files', async () => {
    const [file] = await upload({ x: 'abc' });
    const files = Array.from({ length: 25_000 }, (_, n) => ({
      path: `d${n % 100}/${n}`,
      sha256: file?.sha256 ?? '',
      sizeBytes: 3,
    }));
    expect(await createDatasetVersion(lake, { name: 'large', files, by: 'tester' })).toMatchObject({
      files: 25_000,
      sizeBytes: 75_000,
    });
    expect((await getDataset(lake, 'large')).contents).toHaveLength(25_000);
  });
});
