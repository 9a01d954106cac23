import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listWrittenFiles, openWritten } from '#activities/stage/written-files.ts';

let folder: string;
let outside: string;

beforeEach(async () => {
  const root = await mkdtemp(join(tmpdir(), 'assay-written-'));
  folder = join(root, 'launch');
  outside = join(root, 'outside');
  await mkdir(join(folder, 'stage/work/out'), { recursive: true });
  await mkdir(outside);
  await writeFile(join(outside, 'token'), 'not for stages');
  await writeFile(join(folder, 'stage/work/out/token'), 'written by the stage');
});
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }));

async function read(path: string): Promise<string> {
  const handle = await openWritten(folder, path);
  try {
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

describe('a file that was listed', () => {
  it('is read', async () => {
    expect([...(await listWrittenFiles(join(folder, 'stage/work'))).listing.keys()]).toEqual(['out/token']);
    expect(await read('stage/work/out/token')).toBe('written by the stage');
  });

  it.each(['stage/work/out/token', 'stage/work/out', 'stage/work', 'stage'])(
    'is refused once %s is a link to somewhere else',
    async (swapped) => {
      const path = join(folder, swapped);
      const elsewhere = join(outside, 'mirror');
      await rename(path, elsewhere);
      await symlink(elsewhere, path);
      await expect(read('stage/work/out/token')).rejects.toMatchObject({ code: 'outputs-refused' });
    },
  );

  it('is refused, and not waited for, once it is a pipe', async () => {
    const path = join(folder, 'stage/work/out/token');
    await rm(path);
    await promisify(execFile)('mkfifo', [path]);
    await expect(read('stage/work/out/token')).rejects.toMatchObject({ code: 'outputs-refused' });
  });
});
