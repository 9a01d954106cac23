import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Header, pack } from 'tar-stream';
import { afterAll, describe, expect, test } from 'vitest';
import { extractSource } from '#git/extract.ts';
import { removeTemporary, temporaryDir } from './repositories.ts';

afterAll(removeTemporary);

type Item = [Partial<Header> & { name: string }, string?];

const limits = { filesMax: 1_000, sizeBytesMax: 1024 ** 2 };

async function tarOf(items: readonly Item[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, content] of items) tar.entry(header, content ?? '');
  tar.finalize();
  return buffer(tar as unknown as Readable);
}

/** Extracts into a folder beside a file that no archive may touch, and says what happened. */
async function extract(tar: Buffer, only?: (path: string) => boolean) {
  const base = await temporaryDir();
  await writeFile(join(base, 'sentinel'), 'untouched');
  const destDir = join(base, 'deep', 'out');
  const error = await extractSource(Readable.from([tar]), destDir, { limits, ...(only && { only }) }).catch(
    (reason: unknown) => reason,
  );
  expect(await readFile(join(base, 'sentinel'), 'utf8')).toBe('untouched');
  expect((await readdir(base)).toSorted()).toEqual(['deep', 'sentinel']);
  return { error, destDir };
}

test('files, folders, links and long names are written', async () => {
  const long = `${'d/'.repeat(100)}${'n'.repeat(200)}`;
  const { error, destDir } = await extract(
    await tarOf([
      [{ name: 'a/', type: 'directory' }],
      [{ name: 'a/b.py', mode: 0o4777 }, 'code'],
      [{ name: long }, 'long'],
      [{ name: 'link', type: 'symlink', linkname: 'a/b.py' }],
    ]),
  );
  expect(error).toBeUndefined();
  expect(await readFile(join(destDir, 'link'), 'utf8')).toBe('code');
  expect(await readFile(join(destDir, long), 'utf8')).toBe('long');
});

test('only the wanted paths are written', async () => {
  const { destDir } = await extract(
    await tarOf([
      [{ name: 'a' }, '1'],
      [{ name: 'b' }, '2'],
    ]),
    (path) => path === 'b',
  );
  expect(await readdir(destDir)).toEqual(['b']);
});

describe('an archive is refused and nothing of it stays', () => {
  const cases: [string, readonly Item[]][] = [
    ['a climbing name', [[{ name: '../sentinel' }, 'evil']]],
    ['a climb in the middle', [[{ name: 'a/../../../sentinel' }, 'evil']]],
    ['an absolute name', [[{ name: '/tmp/assay-never' }, 'evil']]],
    ['an empty part', [[{ name: 'a//b' }, 'evil']]],
    ['a .git folder', [[{ name: 'a/.GIT/hooks/post-checkout' }, 'evil']]],
    ['a link out', [[{ name: 'l', type: 'symlink', linkname: '../../sentinel' }]]],
    ['an absolute link', [[{ name: 'l', type: 'symlink', linkname: '/etc/passwd' }]]],
    [
      'a climb behind a link',
      [
        [{ name: 'x/y/up', type: 'symlink', linkname: '../..' }],
        [{ name: 'l', type: 'symlink', linkname: 'x/y/up/../../sentinel' }],
      ],
    ],
    ['a file written through a link', [[{ name: 'l', type: 'symlink', linkname: 'a' }], [{ name: 'l/f' }, 'evil']]],
    ['a file that a link replaces', [[{ name: 'f' }, '1'], [{ name: 'f', type: 'symlink', linkname: 'a' }]]],
    ['a folder that a link replaces', [[{ name: 'd/f' }, '1'], [{ name: 'd', type: 'symlink', linkname: 'a' }]]],
    [
      'a file below a file',
      [
        [{ name: 'f' }, '1'],
        [{ name: 'f/g' }, '2'],
      ],
    ],
    [
      'one path twice',
      [
        [{ name: 'f' }, '1'],
        [{ name: 'f' }, '2'],
      ],
    ],
    [
      'two links of one name',
      [[{ name: 'l', type: 'symlink', linkname: 'a' }], [{ name: 'l', type: 'symlink', linkname: 'b' }]],
    ],
    ['a hard link', [[{ name: 'f' }, '1'], [{ name: 'h', type: 'link', linkname: 'f' }]]],
    ['a hard link out', [[{ name: 'h', type: 'link', linkname: '../../sentinel' }]]],
    ['a device', [[{ name: 'd', type: 'character-device', devmajor: 1, devminor: 3 }]]],
    ['a block device', [[{ name: 'd', type: 'block-device' }]]],
    ['a pipe', [[{ name: 'p', type: 'fifo' }]]],
    ['an endless name', [[{ name: 'n'.repeat(300) }, 'x']]],
    ['endless nesting', [[{ name: `${'d/'.repeat(200)}f` }, 'x']]],
  ];

  test.each(cases)('%s', async (_what, items) => {
    const { error, destDir } = await extract(await tarOf(items));
    expect(error).toMatchObject({ code: 'source-refused' });
    expect(existsSync(destDir)).toBe(false);
  });

  test('one that is cut off or damaged', async () => {
    const tar = await tarOf([[{ name: 'f' }, 'x'.repeat(5_000)]]);
    expect((await extract(tar.subarray(0, 2_000))).error).toMatchObject({ code: 'source-refused' });
    const damaged = Buffer.from(tar);
    damaged[10] = 0xff;
    expect((await extract(damaged)).error).toMatchObject({ code: 'source-refused' });
  });

  test('one with an impossible size', async () => {
    const tar = await tarOf([[{ name: 'f' }, 'x']]);
    tar.write('8fffffffffff', 124, 'latin1');
    expect((await extract(tar)).error).toBeInstanceOf(Error);
  });

  test('one with too many entries or too many bytes', async () => {
    const many = Array.from({ length: limits.filesMax + 1 }, (_, n): Item => [{ name: `f${n}` }, '']);
    expect((await extract(await tarOf(many))).error).toMatchObject({ code: 'source-too-large' });
    const large = await tarOf([[{ name: 'f' }, 'x'.repeat(limits.sizeBytesMax + 1)]]);
    expect((await extract(large)).error).toMatchObject({ code: 'source-too-large' });
  });
});

test('trouble while reading the archive is passed on as it is', async () => {
  const trouble = new Error('connection reset');
  const tar = await tarOf([[{ name: 'f' }, 'x'.repeat(5_000)]]);
  const source = Readable.from(
    (function* () {
      yield tar.subarray(0, 1_024);
      throw trouble;
    })(),
  );
  const destDir = join(await temporaryDir(), 'out');
  await expect(extractSource(source, destDir, { limits })).rejects.toBe(trouble);
});

test('a link that waits in the target folder is not followed', async () => {
  const base = await temporaryDir();
  await symlink('/tmp', join(base, 'l'));
  const tar = await tarOf([[{ name: 'l/assay-never' }, 'x']]);
  await expect(extractSource(Readable.from([tar]), base, { limits })).rejects.toThrow(/not empty/);
});
