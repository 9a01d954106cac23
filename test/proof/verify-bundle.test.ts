import { createPublicKey, type KeyObject, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pack as packTar } from 'tar-stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { artifactFile, bundleFiles, metricsText, sha256Of } from '#proof/bundle-files.ts';
import { createSigner, sealEnvelope } from '#proof/envelope.ts';
import { readManifest } from '#proof/manifest.ts';
import { statementMediaType } from '#proof/statement.ts';
import { verifyBundle } from '#proof/verify-bundle.ts';
import { bundleOf, type Files, newKey, oddPath, pack, signed, without, withLists } from './bundle.ts';

let folder: string;
const key = newKey();
const files = bundleOf(key);
const whole = pack(withLists(files));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'assay-bundle-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function check(bytes: Buffer, expected: KeyObject | null = null) {
  const path = join(folder, `${randomUUID()}.tar`);
  await writeFile(path, bytes);
  return await verifyBundle(path, expected).finally(() => void rm(path));
}

async function problems(bytes: Buffer, expected: KeyObject | null = null): Promise<string[]> {
  return (await check(bytes, expected)).problems;
}

function changed(path: string, bytes: Buffer | string, base: Files = files): Files {
  return new Map(base).set(path, Buffer.from(bytes));
}

describe('a bundle that nobody touched', () => {
  it('holds, with its own key and with the one that is expected', async () => {
    const { keyId } = createSigner(key);
    expect(await check(whole)).toMatchObject({ problems: [], run: 'digits/42', keyId, data: 'included', files: 22 });
    expect(await problems(whole, createPublicKey(key))).toEqual([]);
  });

  it('holds without its data when it says so, and does not when it does not say so', async () => {
    const bare = bundleOf(key, { withData: false });
    expect(await check(pack(withLists(bare, 'left out')))).toMatchObject({ problems: [], data: 'left out' });
    const silent = await problems(pack(withLists(bare)));
    expect(silent).toContain('"data/rows.parquet" is missing; the statement names it');
    expect(silent).toContain('"data/pets/cats/1.png" is missing; the manifest names it');
  });
});

describe('a changed byte', () => {
  it('is found wherever it is', async () => {
    const at = fc.integer({ min: 0, max: whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (position, flip) => {
        const damaged = Buffer.from(whole);
        damaged[position] = (damaged[position] ?? 0) ^ flip;
        expect(await problems(damaged), `byte ${position} ^ ${flip}`).not.toEqual([]);
      }),
      { numRuns: 300 },
    );
  }, 20_000);

  it('in a header is named with its place, and what comes after is still checked', async () => {
    const damaged = Buffer.from(whole);
    const header = whole.indexOf('logs/train/1.log', whole.indexOf('epoch 1') - 600);
    damaged.write('z', header, 'latin1');
    damaged.write('7', header + 512 + 512 + 512, 'latin1'); // In the manifest, which follows.
    const found = await problems(damaged);
    expect(found[0]).toBe(`byte ${header}: the header of "logs/train/1.log" is not as it was written`);
    expect(found.join('\n')).toMatch(/"manifest.json" has sha256/);
  });

  it.each([
    ['mode', 100, '0000755'],
    ['date', 136, '00000000001'],
    ['owner', 265, 'root'],
  ])('in the %s of a file is found, also when the checksum was made to fit', async (_what, offset, value) => {
    const damaged = Buffer.from(whole);
    const at = whole.indexOf('manifest.json\0');
    damaged.write(value, at + offset, 'latin1');
    damaged.write('        ', at + 148, 'latin1');
    const sum = damaged.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    damaged.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
    expect((await problems(damaged)).join()).toMatch(
      /^byte \d+: the header of "manifest.json" is not as it was written$/,
    );
  });

  it('behind the end is found', async () => {
    expect(await problems(Buffer.concat([whole, Buffer.alloc(512)]))).toEqual([
      `byte ${whole.length}: 512 bytes follow the end of the archive`,
    ]);
  });
});

describe('a file that', () => {
  const listedWhole = withLists(files);

  it('is missing is named', async () => {
    expect(await problems(pack(without(listedWhole, 'logs/train/1.log')))).toEqual([
      '"logs/train/1.log" is missing',
      '"logs/train/1.log" is missing; the statement names it',
    ]);
  });

  it('is missing from the lists too is still missed by the statement', async () => {
    expect(await problems(pack(withLists(without(files, 'logs/train/1.log'))))).toEqual([
      '"logs/train/1.log" is missing; the statement names it',
    ]);
  });

  it('was added is named, also when the lists were made to fit', async () => {
    const more: [string, Buffer] = ['artifacts/train/zebra', Buffer.from('more')];
    expect(await problems(pack([...listedWhole, more]))).toContain(
      '"artifacts/train/zebra" does not belong here: index.json does not list it',
    );
    expect(await problems(pack(withLists(changed(...more))))).toEqual([
      '"artifacts/train/zebra" is not vouched for by what is signed',
    ]);
  });

  it('has another name is named twice, as missing and as too much', async () => {
    const renamed = [...listedWhole].map(([path, bytes]): [string, Buffer] => [
      path === 'params.json' ? 'paramz.json' : path,
      bytes,
    ]);
    const found = await problems(pack(renamed));
    expect(found).toContain('"params.json" is missing');
    expect(found).toContain('"paramz.json" does not belong here: index.json does not list it');
  });

  it('stands elsewhere, or twice, is named', async () => {
    const [sums, index, first, second, ...rest] = [...listedWhole];
    const swapped = [sums, index, second, first, ...rest].filter((file) => file !== undefined);
    expect((await problems(pack(swapped))).join()).toContain('stands where "README.md" belongs');
    expect((await problems(pack([...listedWhole, ...[...listedWhole].slice(-1)]))).join()).toMatch(/is there twice/);
  });
});

describe('what was changed on purpose, with lists that fit', () => {
  it.each([
    ['an artifact', artifactFile('train', oddPath)],
    ['the source', bundleFiles.source],
    ['a log', 'logs/train/1.log'],
    ['a query', 'queries/rows.sql'],
    ['a row', 'data/rows.parquet'],
    ['a file of a dataset', 'data/pets/cats/1.png'],
    ['the metrics', bundleFiles.metrics],
    ['the parameters', bundleFiles.params],
    ['the list of wheels', bundleFiles.wheels],
    ['the manifest', bundleFiles.manifest],
    ['the bytes that are signed', bundleFiles.pae],
  ])('%s, is found by what is signed', async (_what, path) => {
    const found = await problems(pack(withLists(changed(path, 'something else'))));
    expect(found.join('\n')).toContain(path.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').slice(0, 30));
  });

  it('every one of them is found, one line each', async () => {
    const both = changed('queries/rows.sql', 'select 2', changed('logs/train/1.log', 'epoch 2\n'));
    expect(await problems(pack(withLists(both)))).toHaveLength(2);
  });

  it('metrics that fit a manifest which fits them are found by the statement', async () => {
    const better = String(files.get(bundleFiles.manifest)).replace('"0.9"', '"0.99"');
    const facts = readManifest(Buffer.from(better));
    const both = changed(bundleFiles.metrics, metricsText(facts as never), changed(bundleFiles.manifest, better));
    expect(await problems(pack(withLists(both)))).toEqual([
      `"manifest.json" has sha256 ${sha256Of(Buffer.from(better))}; the statement says ${sha256Of(files.get(bundleFiles.manifest) as Buffer)}`,
    ]);
  });

  it('and signed again by another key is only told by the key that is expected', async () => {
    const other = newKey();
    const forged = pack(withLists(bundleOf(other)));
    const ids = [createSigner(other).keyId, createSigner(key).keyId];
    expect(await problems(forged)).toEqual([]);
    expect(await problems(forged, createPublicKey(key))).toEqual([`signed by ${ids[0]}, expected ${ids[1]}`]);
  });

  it('under the name of the right key does not pass', async () => {
    const forged = new Map([...files, ...signed(forgedEnvelope())]);
    const line = 'the signature is not that of public-key.pem over the statement';
    expect(await problems(pack(withLists(forged)))).toEqual([line]);
    expect((await problems(pack(withLists(forged)), createPublicKey(key)))[0]).toBe(line);
  });

  function forgedEnvelope(): Buffer {
    const liar = { ...createSigner(newKey()), keyId: createSigner(key).keyId };
    return sealEnvelope(liar, statementMediaType, files.get(bundleFiles.statement) as Buffer);
  }
});

describe('what is no bundle', () => {
  it.each([
    ['an empty file', Buffer.alloc(0), /ends at byte 0/],
    ['text', Buffer.from('hello\n'.repeat(1000)), /^byte 0: the file begins with no header of a tar archive/],
    ['zeros', Buffer.alloc(10_240), /no bundle of Assay/],
  ])('%s, is told in a few lines', async (_what, bytes, expected) => {
    const found = await problems(bytes);
    expect(found.join('\n')).toMatch(expected);
    expect(found.length).toBeLessThanOrEqual(5);
  });

  it('an archive with links, folders and names that lead out is told by name and never unpacked', async () => {
    const tar = packTar();
    tar.entry({ name: 'out', type: 'symlink', linkname: '/etc/passwd' });
    tar.entry({ name: 'folder', type: 'directory' });
    tar.entry({ name: '../../etc/cron.d/evil' }, 'evil');
    tar.entry({ name: '/absolute' }, 'evil');
    tar.finalize();
    const found = (await problems(await buffer(tar))).join('\n');
    expect(found).toContain('"out" is a symbolic link; a bundle holds files alone');
    expect(found).toContain('"folder" is a folder; a bundle holds files alone');
    expect(found).toContain('"../../etc/cron.d/evil" is no path inside a folder');
    expect(found).toContain('"/absolute" is no path inside a folder');
  });

  it.each([1, 511, 512, 5000, 20_000])('an archive that was cut after %i bytes says where', async (length) => {
    expect((await problems(whole.subarray(0, length))).join('\n')).toMatch(/ends at byte|no header/);
  });

  it('a file that is said to be huge costs nothing', async () => {
    const damaged = Buffer.from(pack([['SHA256SUMS', Buffer.alloc(0)]]));
    damaged.write('77777777777\0', 124, 'latin1');
    damaged.write('        ', 148, 'latin1');
    const sum = damaged.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    damaged.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    expect((await problems(damaged)).join('\n')).toMatch(/inside "SHA256SUMS", which needs \d+ bytes more/);
  });

  it('bytes of any kind never do more than be told', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4096 }),
        fc.integer({ min: 0, max: whole.length }),
        async (noise, at) => {
          const damaged = Buffer.concat([whole.subarray(0, at), noise, whole.subarray(at)]);
          const isSame = damaged.equals(whole);
          expect((await problems(damaged)).length === 0).toBe(isSame);
        },
      ),
      { numRuns: 100 },
    );
  }, 20_000);
});
