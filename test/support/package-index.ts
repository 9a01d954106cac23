// A package index over HTTP on loopback: the Simple API over the files of a folder, as they are at each moment.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface PackageIndex {
  /** Of the Simple API. */
  url: string;
  /** The files that were downloaded, in order. uv does it too, to read what a wheel requires. */
  downloads: Array<{ file: string; agent: string }>;
  /** Files that nobody is to take any more, but for whom asks for exactly them. */
  yanked: Set<string>;
  /** Everything is answered with 401 unless it comes with this `user:password`. */
  requireLogin(login: string | null): void;
  close(): Promise<void>;
}

export async function startPackageIndex(folder: string): Promise<PackageIndex> {
  const downloads: PackageIndex['downloads'] = [];
  const yanked = new Set<string>();
  let wanted: string | null = null;
  const normal = (name: string) => name.toLowerCase().replaceAll(/[-_.]+/g, '-');

  const page = async (project: string): Promise<string> => {
    const names = (await readdir(folder)).filter((file) => normal(file.split('-')[0] ?? '') === project);
    const links = names.map(async (file) => {
      const sha256 = createHash('sha256')
        .update(await readFile(join(folder, file)))
        .digest('hex');
      return `<a href="/files/${file}#sha256=${sha256}"${yanked.has(file) ? ' data-yanked="broken"' : ''}>${file}</a>`;
    });
    return `<!DOCTYPE html><html><body>${(await Promise.all(links)).join('\n')}</body></html>`;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (wanted !== null && request.headers.authorization !== `Basic ${btoa(wanted)}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="index"' }).end();
      return;
    }
    const [, kind, name = ''] = (request.url ?? '').split('/');
    try {
      if (kind === 'simple') {
        response.writeHead(200, { 'content-type': 'text/html' }).end(await page(name));
        return;
      }
      const bytes = await readFile(join(folder, name));
      if (request.method === 'GET') downloads.push({ file: name, agent: request.headers['user-agent'] ?? '' });
      response.writeHead(200, { 'content-length': bytes.length });
      response.end(request.method === 'HEAD' ? undefined : bytes);
    } catch {
      response.writeHead(404).end();
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple/`,
    downloads,
    yanked,
    requireLogin: (login) => {
      wanted = login;
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
