// The OpenAPI document and a page to read it, both from this server: the browser is told to contact no other host.
import { randomBytes } from 'node:crypto';
import swagger from '@fastify/swagger';
import scalar from '@scalar/fastify-api-reference';
import type { FastifyInstance } from 'fastify';
import { createJsonSchemaTransformObject, jsonSchemaTransform } from 'fastify-type-provider-zod';

const documentPath = '/api/openapi.json';
const pagePath = '/api/reference';
const noncePlaceholder = 'nonce-of-this-answer';

const description = [
  'Every model ships with its assay: the commit, the data, the environment and the numbers that prove it.',
  'Send `Authorization: Bearer assay_…`. Errors are `application/problem+json` with a stable `type`. Lists are paged by',
  '`cursor`. Every POST that creates understands `Idempotency-Key`. Nothing is allowed unless a role has the permission.',
].join(' ');

/** Registered before the routes, which it collects. */
export async function collectOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Assay', version: '1', description },
      security: [{ token: [] }],
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
    transform: jsonSchemaTransform,
    transformObject: createJsonSchemaTransformObject({}),
  });
}

export async function serveReference(app: FastifyInstance): Promise<void> {
  let document: string | null = null;
  app.get(documentPath, { config: { permission: 'public' }, schema: { hide: true } }, async (_request, reply) => {
    document ??= JSON.stringify(app.swagger());
    return reply.header('content-type', 'application/json; charset=utf-8').send(document);
  });
  await app.register(async (page) => {
    page.addHook('onRoute', (route) => {
      route.config = { ...route.config, permission: 'public' };
    });
    page.addHook('onSend', async (_request, reply, payload) => {
      if (typeof payload !== 'string' || !String(reply.getHeader('content-type')).startsWith('text/html'))
        return payload;
      const nonce = randomBytes(16).toString('base64');
      reply.header('content-security-policy', pagePolicy(nonce));
      return payload.replaceAll(noncePlaceholder, nonce);
    });
    await page.register(scalar, {
      routePrefix: pagePath,
      configuration: {
        url: documentPath,
        pageTitle: 'Assay API',
        nonce: noncePlaceholder,
        withDefaultFonts: false,
        telemetry: false,
        proxyUrl: '',
        hideClientButton: true,
        showDeveloperTools: 'never',
        agent: { disabled: true },
        mcp: { disabled: true },
      },
    });
  });
}

/** Styles are made by the page's own script. Data images are its icons. */
function pagePolicy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
