// One https request to a git host's API, under the rules of remotes: public addresses only, and the connection is made
// to the addresses that were checked. Redirects are not followed.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { parseRemote } from '#git/remote.ts';
import { isProxied, publicAddresses } from '#git/remote-address.ts';
import type { HostRequest } from './commit-status.ts';

export interface HostAnswer {
  status: number;
  /** At most `answerBytesMax` of it. A hostile host wrote it: it is compared, never shown. */
  text: string;
  retryAfterSeconds: number | null;
}

export interface HostAccess {
  allowPrivateRemotes: boolean;
  /** A file of extra certificate authorities. */
  certificateFile: string | null;
}

const answerBytesMax = 64 * 1024;

/** Posts and answers whatever the host answered. @throws invalid-remote for inside addresses; the network's errors. */
export async function postToHost(wanted: HostRequest, access: HostAccess, timeoutMs: number): Promise<HostAnswer> {
  const { host, port, path, headers, body } = wanted;
  const authority = isIP(host) === 6 ? `[${host}]` : host;
  const remote = parseRemote(`https://${authority}:${port}/api`);
  const checked = access.allowPrivateRemotes ? [] : await publicAddresses(remote);
  // A proxy resolves the name itself.
  const agent = await agentFor(isProxied(remote) ? [] : checked, access.certificateFile);
  try {
    const outgoing = request({
      method: 'POST',
      agent,
      host,
      port,
      path,
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      signal: AbortSignal.timeout(timeoutMs),
    });
    outgoing.end(body);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return {
      status: response.statusCode ?? 0,
      text: await readStart(response),
      retryAfterSeconds: secondsOf(response.headers['retry-after']),
    };
  } finally {
    agent.destroy();
  }
}

async function agentFor(pins: readonly string[], certificateFile: string | null): Promise<Agent> {
  const extra = certificateFile === null ? [] : [await readFile(certificateFile, 'utf8')];
  return new Agent({
    keepAlive: false,
    ...(extra.length === 0 ? {} : { ca: [...rootCertificates, ...extra] }),
    ...(pins.length === 0 ? { proxyEnv: process.env } : { lookup: answering(pins) }),
  });
}

/** A second look-up could answer differently (DNS rebinding), so there is none. */
function answering(addresses: readonly string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    const [first] = all;
    if (options.all === true) callback(null, all);
    else callback(null, first?.address ?? '', first?.family ?? 4);
  };
}

async function readStart(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > answerBytesMax) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, answerBytesMax);
}

function secondsOf(header: string | undefined): number | null {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) : null;
}
