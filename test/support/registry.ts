// A registry that images can be pulled from: the reading half of the distribution API, over plain HTTP on loopback.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pack } from 'tar-stream';

export interface TestRegistry {
  host: string;
  /** Adds an image with one layer of these files; answers `NAME@sha256:…`. */
  add(name: string, files: Readonly<Record<string, string>>, platform?: { architecture: string }): Promise<string>;
  /** Pulls are answered with 401 unless they come with this login. */
  requireLogin(login: string | null): void;
  close(): Promise<void>;
}

export async function startRegistry(): Promise<TestRegistry> {
  const blobs = new Map<string, { type: string; bytes: Buffer }>();
  let wanted: string | null = null;
  const put = (bytes: Buffer, type: string): string => {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    blobs.set(digest, { type, bytes });
    return digest;
  };
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const isKnown = wanted === null || request.headers.authorization === `Basic ${btoa(wanted)}`;
    if (!isKnown) return end(response, 401, { 'www-authenticate': 'Basic realm="test"' }, errorBody('UNAUTHORIZED'));
    if (request.url === '/v2/') return end(response, 200, {}, Buffer.from('{}'));
    const found = blobs.get(/(sha256:[0-9a-f]{64})$/.exec(request.url ?? '')?.[1] ?? '');
    if (found === undefined) return end(response, 404, {}, errorBody('MANIFEST_UNKNOWN', 'manifest unknown'));
    end(response, 200, { 'content-type': found.type }, request.method === 'HEAD' ? Buffer.alloc(0) : found.bytes);
  };
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    async add(name, files, platform = { architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }) {
      const layer = await tarOfTexts(files);
      const rootfs = { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] };
      const config = Buffer.from(JSON.stringify({ ...platform, os: 'linux', config: {}, rootfs }));
      const kind = (what: string) => `application/vnd.docker.${what}`;
      const described = (bytes: Buffer, mediaType: string) => ({
        mediaType,
        size: bytes.length,
        digest: put(bytes, mediaType),
      });
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: kind('distribution.manifest.v2+json'),
          config: described(config, kind('container.image.v1+json')),
          layers: [described(layer, kind('image.rootfs.diff.tar'))],
        }),
      );
      return `${host}/${name}@${put(manifest, kind('distribution.manifest.v2+json'))}`;
    },
    requireLogin: (login) => {
      wanted = login;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function end(response: ServerResponse, status: number, headers: Record<string, string>, body: Buffer): void {
  response.writeHead(status, { 'docker-distribution-api-version': 'registry/2.0', ...headers });
  response.end(body);
}

function errorBody(code: string, message = code): Buffer {
  return Buffer.from(JSON.stringify({ errors: [{ code, message }] }));
}

async function tarOfTexts(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name, mtime: new Date(0) }, text);
  archive.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}
