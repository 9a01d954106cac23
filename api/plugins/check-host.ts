// Requests that a browser was tricked into: wrong Host (DNS rebinding), foreign Origin. There is no CORS at all.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ApiFacts } from '#api/deps.ts';
import { HttpError } from '#api/problems.ts';

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

export function checkHost(app: FastifyInstance, facts: ApiFacts): void {
  const publicHost = new URL(facts.publicUrl).host.toLowerCase();
  app.addHook('onRequest', async (request) => {
    const host = (request.headers.host ?? '').toLowerCase();
    if (facts.isLoopback && !isLoopbackHost(host) && host !== publicHost) {
      throw new HttpError(
        'host-refused',
        `The request is addressed to "${host.slice(0, 200)}", and this server only answers as localhost. Set ASSAY_PUBLIC_URL if it has another name.`,
      );
    }
    refuseForeignOrigin(request, host, publicHost);
  });
}

function isLoopbackHost(host: string): boolean {
  return loopbackNames.has(host.replace(/:\d{1,5}$/, ''));
}

function refuseForeignOrigin(request: FastifyRequest, host: string, publicHost: string): void {
  const { origin } = request.headers;
  if (origin === undefined) return;
  const from = URL.canParse(origin) ? new URL(origin).host.toLowerCase() : '';
  if (from !== '' && (from === host || from === publicHost)) return;
  throw new HttpError('host-refused', `Pages of ${origin.slice(0, 200)} may not call this server.`);
}
