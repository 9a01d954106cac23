import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { extract, pack as packTar } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { decodeHeader, encodeHeader } from '#proof/tar-format.ts';
import { pack } from './bundle.ts';

const part = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => !/[/\0]/.test(text) && !/^\.+$/.test(text));
const path = fc.array(part, { minLength: 1, maxLength: 12 }).map((parts) => parts.join('/'));

describe('a header', () => {
  it('says path and size again, however long they are', () => {
    fc.assert(
      fc.property(path, fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (name, sizeBytes) => {
        const bytes = encodeHeader({ path: name, sizeBytes });
        expect(bytes.length % 512).toBe(0);
        expect(decodeHeader(bytes)).toEqual({ path: name, sizeBytes, headerBytes: bytes.length, otherKind: null });
      }),
    );
  });

  it('is read by others as it was meant', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(path, { minLength: 1, maxLength: 4 }), async (names) => {
        const found: string[] = [];
        const archive = pack(names.map((name): [string, Buffer] => [name, Buffer.from(name)]));
        for await (const entry of Readable.from([archive]).pipe(extract())) {
          expect((await buffer(entry)).toString()).toBe(entry.header.name);
          expect(entry.header).toMatchObject({ type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) });
          found.push(entry.header.name);
        }
        expect(found).toEqual(names);
      }),
      { numRuns: 50 },
    );
  });

  it('of others is understood as far as where the file ends', async () => {
    const tar = packTar();
    tar.entry({ name: `${'p'.repeat(120)}/${'n'.repeat(90)}` }, 'text');
    tar.finalize();
    const header = decodeHeader(await buffer(tar));
    expect(header).toMatchObject({ path: `${'p'.repeat(120)}/${'n'.repeat(90)}`, sizeBytes: 4, headerBytes: 512 });
  });
});
