// The shape of one route of the HTTP API. The server registers it and the SDK calls it from the same object.
import type { z } from 'zod';
import type { ErrorCode } from '#core/errors.ts';
import type { Permission } from '#core/role.ts';

export interface RouteContract {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below /api/v1; a final `*` takes the rest of the path. */
  path: string;
  /** `public` and `signature` need no token; what is behind `signature` checks the sender's signature itself. */
  permission: Permission | 'public' | 'signature';
  tag: string;
  summary: string;
  description?: string;
  params?: z.ZodObject;
  query?: z.ZodObject;
  /** JSON. Absent when the route takes no body or raw bytes. */
  body?: z.ZodType;
  /** The media type of a raw request body, for the reference page. */
  rawBody?: string;
  status: number;
  /** A second status of the same answer. */
  otherStatus?: number;
  /** JSON answer. Absent for bytes, text and 204. */
  answer?: z.ZodType;
  /** The media type of an answer that is not JSON. */
  rawAnswer?: string;
  /** Refusals this route is known for, beyond those that any route can give. */
  problems: readonly ErrorCode[];
  /** Whether the route creates something and understands `Idempotency-Key`. */
  idempotent?: boolean;
}

export type ParamsOf<R extends RouteContract> = R['params'] extends z.ZodType ? z.output<R['params']> : unknown;
export type QueryOf<R extends RouteContract> = R['query'] extends z.ZodType ? z.output<R['query']> : unknown;
export type QueryInput<R extends RouteContract> = R['query'] extends z.ZodType ? z.input<R['query']> : unknown;
export type BodyOf<R extends RouteContract> = R['body'] extends z.ZodType ? z.output<R['body']> : unknown;
export type BodyInput<R extends RouteContract> = R['body'] extends z.ZodType ? z.input<R['body']> : unknown;
export type AnswerOf<R extends RouteContract> = R['answer'] extends z.ZodType ? z.output<R['answer']> : unknown;

export function defineRoute<const R extends RouteContract>(route: R): R {
  return route;
}
