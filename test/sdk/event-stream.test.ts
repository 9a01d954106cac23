import { expect, test } from 'vitest';
import { readEvents, type ServerEvent } from '#sdk/event-stream.ts';

async function* bytes(...parts: Array<string | Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === 'string' ? new TextEncoder().encode(part) : part;
}

async function collect(...parts: Array<string | Uint8Array>) {
  const events: ServerEvent[] = [];
  for await (const event of readEvents(bytes(...parts))) events.push(event);
  return events;
}

test('events are read across any cut, heartbeats are not events', async () => {
  const text = ': connected\n\nevent: log\nid: a:1\ndata: {"x":1}\n\n: heartbeat\n\ndata: two\ndata: lines\n\n';
  const expected = [
    { event: 'log', id: 'a:1', data: '{"x":1}' },
    { event: 'message', id: null, data: 'two\nlines' },
  ];
  expect(await collect(text)).toEqual(expected);
  expect(await collect(...text.split(''))).toEqual(expected);
});

test('characters of several bytes survive a cut between them', async () => {
  const encoded = new TextEncoder().encode('data: €\n\n');
  expect(await collect(encoded.subarray(0, 7), encoded.subarray(7))).toEqual([
    { event: 'message', id: null, data: '€' },
  ]);
});

test('an event without its empty line at the end is not complete', async () => {
  expect(await collect('data: cut')).toEqual([]);
});

test('line ends of other systems are line ends', async () => {
  expect(await collect('event: a\r\ndata: b\r\n\r\n')).toEqual([{ event: 'a', id: null, data: 'b' }]);
});
