// What describes this server, all from itself: the OpenAPI document with a page to read it, and the JSON Schema of
// assay.yaml. The browser is told to contact no other host.
import { randomBytes } from 'node:crypto';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { createJsonSchemaTransformObject, jsonSchemaTransform } from 'fastify-type-provider-zod';
import { projectJsonSchema } from '#contract/project-schema.ts';
import type { RouteContract } from '#contract/route.ts';
import { apiPrefix, routes } from '#contract/routes.ts';

const documentPath = '/api/openapi.json';
const pagePath = '/api/reference';
const projectSchemaPath = '/api/assay.schema.json';
const noncePlaceholder = 'nonce-of-this-answer';

const description = [
  'Every model ships with its assay: the commit, the data, the environment and the numbers that prove it.',
  'Send `Authorization: Bearer assay_…`. Errors are `application/problem+json` with a stable `type`. Lists are paged by',
  '`cursor`. Every POST that creates understands `Idempotency-Key`. Nothing is allowed unless a role has the permission.',
  'The command line of this very server: `npm install -g URL/assay.tgz`, where URL is the address of this page without its path.',
].join(' ');

interface OpenApiOperation {
  parameters?: unknown[];
  requestBody?: unknown;
  responses: Record<string, { content?: unknown }>;
}

interface OpenApiDocument {
  paths: Record<string, Record<string, OpenApiOperation>>;
}

const componentsOf = createJsonSchemaTransformObject({});
const idempotencyKey = {
  in: 'header',
  name: 'Idempotency-Key',
  description: 'The same key and body again answers with what the first request created.',
  schema: { type: 'string', maxLength: 200 },
};

/** What has no schema of its own: raw bodies and answers, and the header of requests that create. */
function describeRawParts(document: OpenApiDocument): OpenApiDocument {
  for (const route of Object.values(routes) as RouteContract[]) {
    const path = apiPrefix + route.path.replace(/:(\w+)/g, '{$1}').replace('*', '{*}');
    const operation = document.paths[path]?.[route.method.toLowerCase()];
    if (operation === undefined) continue;
    if (route.idempotent === true) operation.parameters = [...(operation.parameters ?? []), idempotencyKey];
    if (route.rawBody !== undefined) operation.requestBody = { required: true, content: binary(route.rawBody) };
    const answer = operation.responses[route.status];
    if (route.rawAnswer !== undefined && answer !== undefined) answer.content = binary(route.rawAnswer);
  }
  return document;
}

function binary(mediaType: string): Record<string, unknown> {
  return { [mediaType]: { schema: { type: 'string', format: 'binary' } } };
}

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
    transformObject: (document) => describeRawParts(componentsOf(document) as OpenApiDocument),
  });
}

export function serveReference(app: FastifyInstance): void {
  const config = { permission: 'public' } as const;
  const schema = { hide: true };
  let document: string | null = null;
  let page: Promise<FastifyInstance> | null = null;

  app.get(documentPath, { config, schema }, async (_request, reply) => {
    document ??= JSON.stringify(app.swagger());
    return reply.header('content-type', 'application/json; charset=utf-8').send(document);
  });

  app.get(projectSchemaPath, { config, schema }, async (_request, reply) => {
    return reply.header('content-type', 'application/schema+json').send(JSON.stringify(projectJsonSchema()));
  });

  app.get(pagePath, { config, schema }, async (_request, reply) => reply.redirect(`${pagePath}/`, 301));

  app.get(`${pagePath}/*`, { config, schema }, async (request, reply) => {
    page ??= loadPage();
    const part = await (await page).inject(request.url.split('?')[0] ?? '');
    const type = String(part.headers['content-type']);
    reply.status(part.statusCode).header('content-type', type);
    if (!type.startsWith('text/html')) return reply.send(part.rawPayload);
    const nonce = randomBytes(16).toString('base64');
    reply.header('content-security-policy', pagePolicy(nonce));
    return reply.send(part.payload.replaceAll(noncePlaceholder, nonce));
  });
}

/** Loaded when somebody looks: the page's script is 5 MB that an idle server does not need to hold. */
async function loadPage(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  const page = Fastify();
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
  await page.ready();
  return page;
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
