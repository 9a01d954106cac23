import { describe, expect, it } from 'vitest';
import { formatFields, formatTable, oneLine } from '#cli/output.ts';
import { formatAge, formatDuration, formatNumber, formatSize } from '#cli/show/quantities.ts';
import { harmless } from '#cli/terminal.ts';
import { createRecordingTerminal } from './terminals.ts';

const screen = createRecordingTerminal({ columns: 40 });
const pipe = createRecordingTerminal({ isTerminal: false });
const columns = [{ title: 'run' }, { title: 'name', flexible: true }, { title: 'time', right: true }];

describe('a table', () => {
  it('is aligned under a header on a terminal', () => {
    const text = formatTable(screen, columns, [
      ['digits/1', 'first', '1.2 s'],
      ['digits/12', 'second', '340 ms'],
    ]);
    expect(text).toBe('RUN        NAME      TIME\ndigits/1   first    1.2 s\ndigits/12  second  340 ms\n');
  });

  it('is tab-separated without a header in a pipe', () => {
    expect(formatTable(pipe, columns, [['digits/1', 'first', '1.2 s']])).toBe('digits/1\tfirst\t1.2 s\n');
  });

  it('shortens only the flexible column when the terminal is narrow', () => {
    const text = formatTable(screen, columns, [['digits/1', 'a name that is far too long for this line', '1.2 s']]);
    const [, line] = text.split('\n');
    expect(line).toMatch(/^digits\/1 {2}a name that is far too… {2}1\.2 s$/);
    expect(line).toHaveLength(40);
  });

  it('lets no escape sequence or tab from a value through', () => {
    expect(formatTable(pipe, columns, [['\u001b[31mred\u001b[0m', 'a\tb\nc', '']])).toBe('red\ta    b c\t\n');
    expect(oneLine('\u001b]0;title\u0007text')).toBe('text');
    expect(oneLine('\u202egnp.exe')).toBe('gnp.exe');
  });
});

describe('text of a stage on a terminal', () => {
  it.each([
    ['colours', '\u001b[1;31mred\u001b[0m', '\u001b[1;31mred\u001b[0m'],
    ['a progress bar', '10 %\r20 %\r\n\tdone', '10 %\r20 %\r\n\tdone'],
    ['letters of all kinds', 'é ☃ 😀', 'é ☃ 😀'],
  ])('keeps %s', (_, text, shown) => {
    expect(harmless(text)).toBe(shown);
  });

  it.each([
    ['a title', '\u001b]0;pwned\u0007text', 'text'],
    ['the clipboard', '\u001b]52;c;cHduZWQ=\u001b\\text', 'text'],
    ['clearing the screen', '\u001b[2J\u001b[Htext', 'text'],
    ['8-bit sequences', '\u009b2Jtext', 'text'],
    ['device strings', '\u001bP$qm\u001b\\text', 'text'],
    ['a reset', '\u001bctext', 'text'],
    ['bells and backspaces', 'a\u0007\u0008\u0000text', 'atext'],
    ['an escape that is cut off', 'text\u001b[', 'text'],
  ])('loses %s', (_, text, shown) => {
    expect(harmless(text)).toBe(shown);
  });
});

describe('fields', () => {
  it('leave out what has no value', () => {
    const text = formatFields(screen, [
      ['status', 'failed'],
      ['note', null],
      ['commit', 'abc'],
    ]);
    expect(text).toBe('status  failed\ncommit  abc\n');
  });
});

describe('quantities', () => {
  it('use the unit a person would use', () => {
    expect([340, 12_440, 185_000, 7_440_000].map(formatDuration)).toEqual([
      '340 ms',
      '12.4 s',
      '3 min 05 s',
      '2 h 04 min',
    ]);
    expect([512, 1536, 2 ** 31].map(formatSize)).toEqual(['512 B', '1.5 KiB', '2.0 GiB']);
    expect([0.972222222, 12, 'NaN'].map(formatNumber)).toEqual(['0.972222', '12', 'NaN']);
    expect(formatAge('2026-01-01T00:00:00Z', Date.parse('2026-01-01T02:30:00Z'))).toBe('2 h ago');
  });
});
