// Stopping: requests that began are answered, connections that idle are closed, what hangs is cut off after a while.
import type { FastifyInstance } from 'fastify';

const sweepMs = 25;
const graceMs = 10_000;

/** Clients keep connections open for their next request; without this each would hold the server up until it times out. */
export function closeGracefully(app: FastifyInstance): void {
  app.addHook('preClose', async () => {
    const { server } = app;
    if (!server.listening) return;
    const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.once('close', () => {
      clearInterval(sweep);
      clearTimeout(cut);
    });
  });
}
