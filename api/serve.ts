// Registers one route of the contract: its schema, its permission and the code behind it.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { problem, type ProblemCode } from '#contract/problems.ts';
import type { AnswerOf, BodyOf, ParamsOf, QueryOf, RouteContract } from '#contract/route.ts';
import { apiPrefix, routes } from '#contract/routes.ts';
import type { Principal } from '#db/tokens.ts';
import { problemStatus } from './problems.ts';

export interface Call<R extends RouteContract> {
  params: ParamsOf<R>;
  query: QueryOf<R>;
  body: BodyOf<R>;
  /** Who calls; has the route's permission. */
  principal: Principal;
  request: FastifyRequest;
  reply: FastifyReply;
}

/** Answers the JSON of the contract; for bytes, text and events it sends them by the reply and answers that. */
type Handler<R extends RouteContract> = (
  call: Call<R>,
) => Promise<R['answer'] extends z.ZodType ? AnswerOf<R> : FastifyReply | void>;

const names = new Map<RouteContract, string>(Object.entries(routes).map(([name, route]) => [route, name]));

export function serve<R extends RouteContract>(
  app: FastifyInstance,
  route: R,
  handler: Handler<R>,
  options: { bodyBytesMax?: number } = {},
): void {
  app.route({
    method: route.method,
    url: apiPrefix + route.path,
    config: { permission: route.permission, contract: route },
    schema: schemaOf(route),
    // HEAD would run the handler of a stream that may have no end.
    exposeHeadRoute: route.method === 'GET' && route.rawAnswer === undefined,
    ...(options.bodyBytesMax === undefined ? {} : { bodyLimit: options.bodyBytesMax }),
    handler: async (request, reply) => {
      const { params, query, body, principal } = request as unknown as Call<R>;
      const answer = await handler({ params, query, body, principal, request, reply });
      if (route.answer === undefined && route.rawAnswer === undefined) return reply.status(route.status).send();
      if (route.answer !== undefined) reply.status(reply.statusCode === 200 ? route.status : reply.statusCode);
      return answer;
    },
  });
}

/** Unknown query parameters are refused: a misspelt filter must not widen a search. */
function schemaOf(route: RouteContract) {
  return {
    operationId: names.get(route),
    tags: [route.tag],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    ...(needsToken(route) ? {} : { security: [] }),
    ...(route.params === undefined ? {} : { params: route.params }),
    querystring: (route.query ?? z.object({})).strict(),
    ...(route.body === undefined ? {} : { body: route.body }),
    response: { ...successOf(route), ...problemsOf(route) },
  };
}

function needsToken({ permission }: RouteContract): boolean {
  return permission !== 'public' && permission !== 'signature';
}

function successOf(route: RouteContract): Record<number, unknown> {
  if (route.answer !== undefined) {
    const other = route.otherStatus === undefined ? {} : { [route.otherStatus]: route.answer };
    return { [route.status]: route.answer, ...other };
  }
  const description = route.rawAnswer ?? 'Done';
  return { [route.status]: z.any().meta({ description }) };
}

/** What any route can refuse, then what this one is known for, grouped by status for the reference page. */
function problemsOf(route: RouteContract): Record<number, unknown> {
  const any: ProblemCode[] = needsToken(route) ? ['unauthenticated', 'forbidden'] : [];
  const codes = [...new Set<ProblemCode>(['invalid-request', ...any, ...route.problems, 'unavailable'])];
  const byStatus = Map.groupBy(codes, problemStatus);
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      status,
      { description: group.join(', '), content: { 'application/problem+json': { schema: problem } } },
    ]),
  );
}
