// A line between a client and a server of this machine that a test can cut, silence, garble and mend.
import { createServer, connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

export interface TcpProxy {
  endpoint: string;
  /** Connections so far. */
  connections(): number;
  /** New connections are cut at once and open ones now, until `mend`. */
  cut(): void;
  /** Each of the next `count` connections is cut after so many bytes in this direction. */
  cutAfter(direction: Direction, bytes: number, count?: number): void;
  /** Nothing passes any more on the next `count` connections after so many bytes, although they stay open. */
  silenceAfter(direction: Direction, bytes: number, count?: number): void;
  /** One bit is turned in the byte at this position of each of the next `count` connections. */
  garble(direction: Direction, byte: number, count?: number): void;
  mend(): void;
  close(): Promise<void>;
}

type Direction = 'up' | 'down';
type Fault = { kind: 'cut' | 'silence' | 'garble'; direction: Direction; at: number; left: number };

export async function tcpProxyTo(endpoint: string): Promise<TcpProxy> {
  const target = new URL(endpoint);
  const open = new Set<Socket>();
  let isCut = false;
  let fault: Fault | null = null;
  let count = 0;

  const server = createServer((client) => {
    count += 1;
    if (isCut) return void client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    const mine = fault !== null && fault.left > 0 ? fault : null;
    if (mine !== null) mine.left -= 1;
    const end = () => {
      client.destroy();
      upstream.destroy();
      open.delete(client);
      open.delete(upstream);
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', end).on('close', end);
    }
    const pass = (direction: Direction, from: Socket, to: Socket) => {
      let passed = 0;
      from.on('data', (chunk: Buffer) => {
        const at = mine?.direction === direction ? mine.at - passed : Number.POSITIVE_INFINITY;
        passed += chunk.length;
        if (mine === null || at >= chunk.length) return forward(from, to, chunk);
        if (mine.kind === 'garble') {
          if (at >= 0) chunk[at] = (chunk[at] ?? 0) ^ 1;
          return forward(from, to, chunk);
        }
        if (at > 0) to.write(chunk.subarray(0, at));
        if (mine.kind === 'cut') end();
      });
    };
    pass('up', client, upstream);
    pass('down', upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hangUp = () => {
    for (const socket of open) socket.destroy();
  };
  const set = (kind: Fault['kind'], direction: Direction, at: number, left = Number.POSITIVE_INFINITY) => {
    fault = { kind, direction, at, left };
    // What is open already is not to be reused.
    hangUp();
  };
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => count,
    cut() {
      isCut = true;
      hangUp();
    },
    cutAfter: (direction, bytes, times) => set('cut', direction, bytes, times),
    silenceAfter: (direction, bytes, times) => set('silence', direction, bytes, times),
    garble: (direction, byte, times) => set('garble', direction, byte, times),
    mend() {
      isCut = false;
      fault = null;
      hangUp();
    },
    async close() {
      hangUp();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward(from: Socket, to: Socket, chunk: Buffer): void {
  if (to.write(chunk)) return;
  from.pause();
  to.once('drain', () => from.resume());
}
