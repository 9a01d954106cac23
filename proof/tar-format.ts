// The archive of a bundle: POSIX tar in one exact spelling, so that equal files give equal bytes and every byte that is
// not a file's can be told in advance. Written out here because the spelling is part of the format: bundles of today have
// to be checked by the programs of later years, whatever a library then writes.

export const blockBytes = 512;
/** Two empty blocks end an archive. */
export const endBytes = 2 * blockBytes;

const nameBytesMax = 100;
/** The largest number that eleven octal digits hold. */
const sizeMax = 8 ** 11 - 1;
/** Paths have at most 4096 bytes. */
const paxBytesMax = 8 * 1024;
const magic = 'ustar\x0000';
const types = { file: '0', pax: 'x' } as const;

export interface TarFile {
  path: string;
  sizeBytes: number;
}

/** All that stands before the bytes of a file: one block, or three and more for what one cannot say (POSIX pax). */
export function encodeHeader({ path, sizeBytes }: TarFile): Buffer {
  const isPlain = isAscii(path) && path.length <= nameBytesMax;
  if (isPlain && sizeBytes <= sizeMax) return headerBlock(path, sizeBytes, types.file);
  const records = [paxRecord('path', path), ...(sizeBytes <= sizeMax ? [] : [paxRecord('size', String(sizeBytes))])];
  const pax = Buffer.concat(records);
  return Buffer.concat([
    headerBlock('pax', pax.length, types.pax),
    pax,
    Buffer.alloc(paddingOf(pax.length)),
    headerBlock('file', Math.min(sizeBytes, sizeMax), types.file),
  ]);
}

/** How many zeros follow so many bytes. */
export function paddingOf(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

export interface TarHeader extends TarFile {
  /** Bytes up to the file's own. */
  headerBytes: number;
  /** What it is when it is no file, in words. */
  otherKind: string | null;
}

/**
 * Reads just what says where a file begins and ends; whether the rest is spelled right, comparing with `encodeHeader`
 * says. `bytes` are those from the header on, at least `headerBytesMax` of them or all up to the archive's end.
 * Null when there is no header.
 */
export function decodeHeader(bytes: Buffer): TarHeader | null {
  const first = decodeBlock(bytes);
  if (first === null) return null;
  if (first.type !== types.pax) {
    const { path, sizeBytes, type } = first;
    return { path, sizeBytes, headerBytes: blockBytes, otherKind: kindOf(type) };
  }
  const paxEnd = blockBytes + first.sizeBytes;
  if (first.sizeBytes > paxBytesMax || bytes.length < paxEnd) return null;
  const pax = decodePax(bytes.subarray(blockBytes, paxEnd));
  const start = paxEnd + paddingOf(first.sizeBytes);
  const second = decodeBlock(bytes.subarray(start));
  if (pax === null || second === null) return null;
  const sizeBytes = pax.has('size') ? Number(pax.get('size')) : second.sizeBytes;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) return null;
  return {
    path: pax.get('path') ?? second.path,
    sizeBytes,
    headerBytes: start + blockBytes,
    otherKind: kindOf(second.type),
  };
}

export const headerBytesMax = blockBytes + paxBytesMax + blockBytes;

/** Whether more than the first block is needed to read the header that begins so. */
export function isLongHeader(bytes: Buffer): boolean {
  return bytes[156] === types.pax.charCodeAt(0);
}

export function isEmptyBlock(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Fields of POSIX ustar: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, magic 257. */
function headerBlock(name: string, sizeBytes: number, type: string): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.write(name, 0, 'latin1');
  block.write('0000644\0', 100, 'latin1');
  block.write('0000000\0', 108, 'latin1');
  block.write('0000000\0', 116, 'latin1');
  block.write(`${octal(sizeBytes, 11)}\0`, 124, 'latin1');
  block.write('00000000000\0', 136, 'latin1');
  block.write(type, 156, 'latin1');
  block.write(magic, 257, 'latin1');
  block.write(`${octal(checksumOf(block), 6)}\0 `, 148, 'latin1');
  return block;
}

/** The sum of all bytes, those of the checksum itself taken as spaces. */
function checksumOf(block: Buffer): number {
  return block.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
}

function decodeBlock(bytes: Buffer): (TarFile & { type: string }) | null {
  if (bytes.length < blockBytes) return null;
  const block = bytes.subarray(0, blockBytes);
  if (fromOctal(block, 148, 8) !== checksumOf(block)) return null;
  const sizeBytes = fromOctal(block, 124, 12);
  if (sizeBytes === null) return null;
  const [name, prefix] = [textAt(block, 0, 100), textAt(block, 345, 155)];
  const type = textAt(block, 156, 1) || types.file;
  return { path: prefix === '' ? name : `${prefix}/${name}`, sizeBytes, type };
}

/** Records are `LENGTH KEY=VALUE\n`, the length being that of the whole record. */
function decodePax(bytes: Buffer): Map<string, string> | null {
  const found = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const [, digits = ''] = /^([1-9]\d{0,6}) /.exec(bytes.toString('latin1', at, at + 8)) ?? [];
    const end = at + Number(digits);
    if (digits === '' || end > bytes.length || bytes[end - 1] !== 0x0a) return null;
    const [key = '', ...value] = bytes.toString('utf8', at + digits.length + 1, end - 1).split('=');
    found.set(key, value.join('='));
    at = end;
  }
  return found;
}

function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

const kinds: Readonly<Record<string, string>> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a folder',
  '6': 'a pipe',
};

function kindOf(type: string): string | null {
  return type === types.file ? null : (kinds[type] ?? 'of an unknown kind');
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function fromOctal(block: Buffer, at: number, length: number): number | null {
  const [, digits] = /^ *([0-7]+)[ \0]*$/.exec(block.toString('latin1', at, at + length)) ?? [];
  return digits === undefined ? null : Number.parseInt(digits, 8);
}

function textAt(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? length : end);
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}
