import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downloadVerified, safeTarget } from '#cli/files/download-file.ts';
import { readFolder } from '#cli/files/folder-files.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'assay-files-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const expected = (text: string) => ({ path: 'a.txt', sizeBytes: text.length, sha256: sha256(text) });

describe('a download', () => {
  it('is put in place when its bytes are those promised', async () => {
    const target = await safeTarget(dir, 'sub/a.txt');
    expect(await downloadVerified(() => Promise.resolve(new Response('hello')), target, expected('hello'))).toBe(
      'fetched',
    );
    expect(await readFile(target, 'utf8')).toBe('hello');
  });

  it('is thrown away when they are not', async () => {
    const target = await safeTarget(dir, 'a.txt');
    const open = () => Promise.resolve(new Response('other'));
    await expect(downloadVerified(open, target, expected('hello'))).rejects.toThrow(/arrived with sha256/);
    expect(await readdir(dir)).toEqual([]);
  });

  it('is left out when the file is there already', async () => {
    await writeFile(join(dir, 'a.txt'), 'hello');
    const open = () => Promise.reject(new Error('asked'));
    expect(await downloadVerified(open, join(dir, 'a.txt'), expected('hello'))).toBe('present');
  });

  it.each(['../a', '/etc/passwd', 'a//b', 'a/../../b', 'a\\b', ''])('never goes to %j', async (path) => {
    await expect(safeTarget(dir, path)).rejects.toThrow(/not safe to write/);
  });

  it('does not follow a link out of its folder', async () => {
    const out = join(dir, 'out');
    await mkdir(out);
    await symlink(tmpdir(), join(out, 'escape'));
    await expect(safeTarget(out, 'escape/a.txt')).rejects.toThrow(/is a link or a file where a folder is needed/);
  });
});

describe('a folder that becomes a dataset', () => {
  it('is a sorted list of paths with size and digest', async () => {
    await mkdir(join(dir, 'b'));
    await mkdir(join(dir, '.git'));
    await writeFile(join(dir, '.git', 'HEAD'), 'x');
    await writeFile(join(dir, 'b', 'two'), 'two');
    await writeFile(join(dir, 'one'), '1');
    expect(await readFolder(dir)).toEqual([
      { path: 'b/two', sizeBytes: 3, sha256: sha256('two') },
      { path: 'one', sizeBytes: 1, sha256: sha256('1') },
    ]);
  });

  it('is refused when it is empty, and with the path of a link to a folder', async () => {
    await expect(readFolder(dir)).rejects.toThrow(/holds no files/);
    await symlink(tmpdir(), join(dir, 'loop'));
    await expect(readFolder(dir)).rejects.toThrow(/loop is neither a file nor a folder/);
  });
});
