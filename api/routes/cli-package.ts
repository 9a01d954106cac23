// The command line for whoever may reach this server: `npm install -g URL/assay.tgz`. Public, as there is no secret in it.
import type { FastifyInstance } from 'fastify';
import { versionHeader } from '#contract/health.ts';
import { matches } from '#api/blob-answer.ts';
import type { CliPackage } from '#api/cli-package/cli-package.ts';

export async function cliPackageRoutes(app: FastifyInstance, cliPackage: CliPackage): Promise<void> {
  const config = { permission: 'public' } as const;
  const schema = { hide: true };
  const version = await cliPackage.version();

  if (version !== null) app.addHook('onRequest', async (_request, reply) => void reply.header(versionHeader, version));

  app.get('/assay.tgz', { config, schema }, async (request, reply) => {
    const { bytes, sha256 } = await cliPackage.read();
    const etag = `"${sha256}"`;
    // An upgrade of the server has to be seen at once, so a copy is used only after asking.
    reply.header('etag', etag).header('cache-control', 'public, no-cache');
    if (matches(request.headers['if-none-match'], etag)) return reply.status(304).send();
    return reply
      .header('content-type', 'application/gzip')
      .header('content-disposition', 'attachment; filename="assay.tgz"')
      .send(bytes);
  });
}
