import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Archive, type ArchiveCaps, readArchive } from '#activities/verdict/archives.ts';

const folder = mkdtempSync(join(tmpdir(), 'assay-archives-'));
let written: string[];
beforeAll(() => {
  execFileSync('python3', [new URL('write-archives.py', import.meta.url).pathname, folder], { stdio: 'pipe' });
  written = readdirSync(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (name: string, caps?: ArchiveCaps) => readArchive(join(folder, name), `model/${name}`, caps);

async function members(name: string): Promise<Map<string, string>> {
  const found = await read(name);
  if (found === null || typeof found === 'string') throw new Error(`${name}: ${found}`);
  return found.members;
}

test.each([
  ['a.npz', 'b.npz', 'zip'],
  ['a.keras', 'b.keras', 'zip'],
  ['a.tar', 'b.tar', 'tar'],
  ['a.tar.gz', 'b.tar.gz', 'tar.gz'],
  ['a.gz', 'b.gz', 'gzip'],
])('%s and %s hold the same, dates and order aside', async (a, b, kind) => {
  expect(await members(a)).toEqual(await members(b));
  const { kind: found, leftOut } = (await read(a)) as Archive;
  expect(found).toBe(kind);
  expect(leftOut.join(' ')).toMatch(/dates|time/);
});

test('content, members and which of two equal names comes last are never left out', async () => {
  const original = await members('a.npz');
  const changed = await members('changed.npz');
  expect(changed.get('weights.npy')).toBe(original.get('weights.npy'));
  expect(changed.get('bias.npy')).not.toBe(original.get('bias.npy'));
  expect(await members('more.npz')).not.toEqual(original);
  expect(await members('twice.npz')).not.toEqual(await members('twice-turned.npz'));
  expect(await members('c.keras')).not.toEqual(await members('a.keras'));
  expect(await members('changed.tar.gz')).not.toEqual(await members('a.tar.gz'));
});

test("a member's name is only a name", async () => {
  expect([...(await members('names.zip')).keys()]).toEqual(
    expect.arrayContaining(['../../escape', '/etc/escape', 'c:\\escape']),
  );
  expect([...(await members('links.tar')).values()][0]).toContain('/etc/passwd');
});

test.each<[string, ArchiveCaps, RegExp]>([
  ['bomb.zip', { unpackedBytesMax: 2 ** 20 }, /unpacks to more than 1048576 bytes/],
  ['bomb.tar.gz', { unpackedBytesMax: 2 ** 20 }, /unpacks to more than 1048576 bytes/],
  ['overlapping.zip', { unpackedBytesMax: 16 * 2 ** 20 }, /unpacks to more than/],
  ['many.zip', { membersMax: 1000 }, /more than 1000 members/],
  ['truncated.zip', {}, /can not be read/],
  ['tail.zip', {}, /can not be read/],
  ['zip64.zip', {}, /can not be read/],
  ['magic.zip', {}, /can not be read/],
  ['magic.gz', {}, /can not be read/],
  ['cut.gz', {}, /can not be read/],
  ['cut.tar', {}, /can not be read/],
  ['name.tar', {}, /can not be read/],
  ['crc.zip', {}, /does not match its checksum/],
  ['flipped.zip', {}, /can not be read/],
])('%s is refused in one sentence, at the caps %j', async (name, caps, refusal) => {
  const found = await read(name, caps);
  expect(found).toMatch(refusal);
});

test('nothing was unpacked, and what is no archive is none', async () => {
  expect(await readArchive(new URL(import.meta.url).pathname, 'archives.test.ts')).toBeNull();
  expect(readdirSync(folder)).toEqual(written);
  expect(readdirSync(tmpdir())).not.toContain('escape');
});
