import { expect, it } from 'vitest';
import { createMask } from '#activities/stage/mask.ts';

const secret = 'p4ss"wörd+/&☃';
const bytes = Buffer.from(secret);

const spellings: Array<[string, string]> = [
  ['plainly', secret],
  ['in base64', bytes.toString('base64')],
  ['in base64 for URLs', bytes.toString('base64url')],
  ['in hexadecimal', bytes.toString('hex')],
  ['in upper-case hexadecimal', bytes.toString('hex').toUpperCase()],
  ['in a URL', encodeURIComponent(secret)],
  ['in JSON', JSON.stringify(secret).slice(1, -1)],
  ['in JSON of ASCII alone', String.raw`p4ss\"w\u00f6rd+/&\u2603`],
];

it.each(spellings)('a secret is masked when it is printed %s, wherever the output is cut', (_, printed) => {
  const output = Buffer.from(`before ${printed} after`);
  for (let cut = 0; cut <= output.length; cut += 1) {
    const mask = createMask([secret]);
    const parts = [mask.push(output.subarray(0, cut)), mask.push(output.subarray(cut)), mask.end()];
    expect(Buffer.concat(parts).toString()).toBe('before *** after');
  }
});

it('a secret that begins with another one is masked whole, wherever the output is cut', () => {
  const output = Buffer.from('hunter2-production hunter2 hunter2-prod');
  for (let cut = 0; cut <= output.length; cut += 1) {
    const mask = createMask(['hunter2', 'hunter2-production']);
    const parts = [mask.push(output.subarray(0, cut)), mask.push(output.subarray(cut)), mask.end()];
    expect(Buffer.concat(parts).toString()).toBe('*** *** ***-prod');
  }
});

it('what merely looks like the beginning of a secret is shown at the end', () => {
  const mask = createMask(['abcabcd']);
  expect(mask.push(Buffer.from('xabcab')).toString()).toBe('x');
  expect(mask.push(Buffer.from('cabcd')).toString()).toBe('abc***');
  expect(mask.end().toString()).toBe('');
});
