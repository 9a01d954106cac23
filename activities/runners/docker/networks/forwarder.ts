// The one door out of the networks of stages: answers on their gateways and passes requests on to the API, nowhere else.
// It speaks HTTP instead of passing bytes, because the API answers only requests that are addressed to its own name.

import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface Forwarder {
  port: number;
  close(): Promise<void>;
}

const headersTimeoutMs = 30_000;
/** Of one connection to another: what concerns the connection alone is not passed on. */
const hopHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Listens on each address with the same port: `port` where it is free, else another. */
export async function startForwarder(
  target: URL,
  addresses: readonly string[],
  port: number | null,
): Promise<Forwarder> {
  const servers: Server[] = [];
  try {
    let chosen = port ?? 0;
    for (const address of addresses) {
      const server = createServer({ headersTimeout: headersTimeoutMs }, (incoming, response) =>
        forward(target, incoming, response),
      );
      await listen(server, address, chosen);
      servers.push(server);
      chosen = (server.address() as AddressInfo).port;
    }
    return { port: chosen, close: () => closeAll(servers) };
  } catch (error) {
    await closeAll(servers);
    throw error;
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function closeAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    ),
  );
}

/** A target other than a path would be routed by whatever stands before the API. */
const pathOnly = /^\/(?!\/)/;
const withoutBody = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

function forward(target: URL, incoming: IncomingMessage, response: ServerResponse): void {
  const isChunked = incoming.headers['transfer-encoding'] !== undefined;
  if (!pathOnly.test(incoming.url ?? '') || (isChunked && withoutBody.has(incoming.method ?? ''))) {
    response.writeHead(400, { 'content-type': 'text/plain', connection: 'close' });
    response.end('Send a path of the API, and no chunked body with a method that has none.\n');
    return;
  }
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest;
  const outgoing = send({
    host: target.hostname.replace(/^\[|\]$/g, ''),
    port: target.port || (target.protocol === 'https:' ? 443 : 80),
    servername: target.hostname,
    method: incoming.method,
    path: incoming.url,
    // Stages do not share connections: what one of them left unread would be answered to another.
    agent: false,
    headers: {
      ...endToEnd(incoming),
      ...(isChunked && { 'transfer-encoding': 'chunked' }),
      host: target.host,
    },
  });
  outgoing.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer));
    answer.pipe(response);
    // An answer that is cut must not look complete.
    answer.on('error', () => response.destroy());
  });
  outgoing.on('error', (error) => {
    if (response.headersSent) return void response.destroy();
    response.writeHead(502, { 'content-type': 'text/plain' });
    response.end(`Assay's API can not be reached from this node: ${error.message}\n`);
  });
  response.on('close', () => outgoing.destroy());
  incoming.on('error', () => outgoing.destroy());
  incoming.pipe(outgoing);
}

function endToEnd({ headers }: IncomingMessage): Record<string, string | string[] | undefined> {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopHeaders.has(name) && !named.has(name)));
}
