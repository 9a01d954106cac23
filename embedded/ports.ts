// Which loopback ports this stack uses. Chosen once and kept, so that links and bookmarks stay valid.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';

const loopback = '127.0.0.1';

export interface Ports {
  /** The kept port of this name where it is free; otherwise the preferred or any free one, which is kept from now on. */
  of(name: string, preferred?: number): Promise<number>;
}

export function openPorts(home: string): Ports {
  const path = join(home, 'ports.json');
  const kept = readPorts(path);
  return {
    async of(name, preferred) {
      for (const port of [kept[name], preferred]) {
        if (port !== undefined && !isTaken(kept, name, port) && (await isFree(port)))
          return keep(path, kept, name, port);
      }
      let port = await freePort();
      while (isTaken(kept, name, port)) port = await freePort();
      return keep(path, kept, name, port);
    },
  };
}

/** Whether a server could listen there now. */
export async function isFree(port: number, host: string = loopback): Promise<boolean> {
  try {
    await close(await listen(port, host));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}

/** A port that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = await listen(0, loopback);
  const address = server.address();
  await close(server);
  if (address === null || typeof address === 'string') throw new Error('The system gave no TCP port.');
  return address.port;
}

function listen(port: number, host: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function isTaken(kept: Record<string, number>, name: string, port: number): boolean {
  return Object.entries(kept).some(([other, itsPort]) => other !== name && itsPort === port);
}

function keep(path: string, kept: Record<string, number>, name: string, port: number): number {
  if (kept[name] === port) return port;
  kept[name] = port;
  writeFileSync(`${path}.new`, JSON.stringify(kept, null, 2));
  renameSync(`${path}.new`, path);
  return port;
}

function readPorts(path: string): Record<string, number> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}
