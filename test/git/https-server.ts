// A real https server in front of `git http-backend`, for the tests that fetch.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface GitServer {
  /** https://127.0.0.1:PORT */
  origin: string;
  certificateFile: string;
  /** Answered to the next requests instead of the repository. */
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  requests: { url: string; authorization: string | undefined }[];
  close(): Promise<void>;
}

const openssl = 'openssl';

export function hasOpenssl(): boolean {
  try {
    execFileSync(openssl, ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function makeCertificate(dir: string): { key: string; certificate: string } {
  const [key, certificate] = [join(dir, 'server.key'), join(dir, 'server.pem')];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate];
  execFileSync(openssl, [...args, ...subject], { stdio: 'ignore' });
  return { key, certificate };
}

function backend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'https://127.0.0.1');
  const child = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env['PATH'],
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    },
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => request.resume());
  let head = Buffer.alloc(0);
  let started = false;
  child.stdout.on('data', (chunk: Buffer) => {
    if (started) return void response.write(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    started = true;
    const lines = head.toString('latin1', 0, end).split('\r\n');
    for (const line of lines) {
      const [name = '', value = ''] = line.split(': ');
      if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.write(head.subarray(end + 4));
  });
  child.on('close', () => response.end());
}

/** Serves every repository below `root`. */
export async function startGitServer(root: string): Promise<GitServer> {
  const { key, certificate } = makeCertificate(root);
  const state: GitServer = {
    origin: '',
    certificateFile: certificate,
    answer: null,
    requests: [],
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  const options = { key: await readFile(key), cert: await readFile(certificate) };
  const server = createServer(options, (request, response) => {
    state.requests.push({ url: request.url ?? '', authorization: request.headers.authorization });
    if (state.answer?.(request, response) === true) return;
    backend(root, request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  state.origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return state;
}
