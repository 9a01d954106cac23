// What stages send through the one door to the API: nothing of one stage reaches the answers of another.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Forwarder, startForwarder } from '#activities/runners/docker/networks/forwarder.ts';

interface Seen {
  line: string;
  host: string;
  body: string;
}

const seen: Seen[] = [];
let api: Server;
let forwarder: Forwarder;

beforeAll(async () => {
  api = createServer((request, response) => {
    void text(request).then((body) => {
      seen.push({ line: `${request.method} ${request.url}`, host: request.headers.host ?? '', body });
      response.end(`answer to ${request.url}`);
    });
  });
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  const target = new URL(`http://127.0.0.1:${(api.address() as AddressInfo).port}`);
  forwarder = await startForwarder(target, ['127.0.0.1'], null);
});

beforeEach(() => void seen.splice(0));

afterAll(async () => {
  await forwarder.close();
  api.close();
});

/** Sends the bytes as they are and answers everything that comes back until the other side closes. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(forwarder.port, '127.0.0.1');
  socket.write(bytes);
  return await text(socket);
}

it('passes a request on to the API under its own name, a chunked body too', async () => {
  const answer = await raw(
    'POST /api/v1/x HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  );
  expect(answer).toContain('answer to /api/v1/x');
  expect(seen).toEqual([
    {
      line: 'POST /api/v1/x',
      host: new URL(`http://127.0.0.1:${(api.address() as AddressInfo).port}`).host,
      body: 'hello',
    },
  ]);
});

it('refuses a body where none belongs, which would be the next request to the API', async () => {
  const hidden = 'GET /evil HTTP/1.1\r\nHost: other.internal\r\n\r\n';
  const answer = await raw(
    `GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(seen).toEqual([]);
});

it.each(['http://other.internal/x', '//other.internal/x', '*'])('refuses the target %s', async (target) => {
  const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(seen).toEqual([]);
});

it('keeps no header that belongs to one connection', async () => {
  await raw('GET /b HTTP/1.1\r\nHost: x\r\nConnection: close, x-secret\r\nX-Secret: 1\r\n\r\n');
  expect(seen.map(({ line }) => line)).toEqual(['GET /b']);
});
