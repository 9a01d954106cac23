// Who calls, and whether the role may. Runs before a body is read.
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '#core/errors.ts';
import { roleMay } from '#core/role.ts';
import { createTokenLookup, hashToken, looksLikeToken, type Principal } from '#db/tokens.ts';
import type { ApiDeps } from '#api/deps.ts';
import { HttpError } from '#api/problems.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whom the request speaks for; null on routes without a token. */
    principal: Principal;
  }
}

/** Failed attempts of one address in a minute; a valid token is never held up by them. */
const failuresMax = 60;

export async function authenticate(app: FastifyInstance, deps: ApiDeps): Promise<void> {
  await app.register(rateLimit, { global: false });
  const countFailure = app.createRateLimit({ max: failuresMax, timeWindow: 60_000 });
  const lookUp = createTokenLookup(deps.connection.pool);
  app.decorateRequest('principal');

  app.addHook('onRequest', async (request) => {
    const { permission } = request.routeOptions.config;
    if (permission === undefined || permission === 'public' || permission === 'signature') return;
    const token = bearerToken(request);
    const principal = token === null ? undefined : await lookUp(hashToken(token));
    if (principal === undefined) {
      const counted = await countFailure(request);
      if (!counted.isAllowed && counted.isExceeded) throw tooManyFailures(counted.ttlInSeconds);
      throw unauthenticated(token === null);
    }
    if (!roleMay(principal.role, permission)) throw forbidden(principal.role, permission);
    request.principal = principal;
  });
}

const bearerPattern = /^Bearer ([\w-]{1,200})$/;

/** Only the header counts: a token in a URL would end up in logs and histories. */
function bearerToken(request: FastifyRequest): string | null {
  const token = bearerPattern.exec(request.headers.authorization ?? '')?.[1];
  return token !== undefined && looksLikeToken(token) ? token : null;
}

function unauthenticated(isMissing: boolean): HttpError {
  const found = isMissing
    ? 'The request has no usable token'
    : 'The token is unknown, expired or revoked, or its stage has ended';
  return new HttpError(
    'unauthenticated',
    `${found}. Send \`Authorization: Bearer assay_…\`; \`assay login\` stores one.`,
    {
      'www-authenticate': 'Bearer realm="assay"',
    },
  );
}

function tooManyFailures(seconds: number): HttpError {
  return new HttpError(
    'too-many-requests',
    `More than ${failuresMax} requests of this address in a minute had no valid token. Wait ${seconds} s.`,
    { 'retry-after': String(seconds) },
  );
}

function forbidden(role: string, permission: string): DomainError {
  return new DomainError(
    'forbidden',
    `The role ${role} does not have the permission "${permission}". Ask someone of the role platform for another token.`,
  );
}
