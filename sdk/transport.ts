// One HTTP call to Assay: builds the URL from a route of the contract, turns problems into ApiError.
import { type Problem, problem as problemSchema, problemType } from '#contract/problems.ts';
import type { AnswerOf, BodyInput, QueryInput, RouteContract } from '#contract/route.ts';
import { apiPrefix } from '#contract/routes.ts';
import { ApiError, UnreachableError } from './api-error.ts';

export interface ClientOptions {
  /** Where the server is, for example http://127.0.0.1:4173; without /api/v1. */
  url: string;
  token: string;
  /** Replaces the global fetch, for proxies and tests. */
  fetch?: typeof fetch;
}

/** Raw bytes to send: a file as a Blob, a buffer, or a stream. */
export type Bytes = Blob | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

export interface CallInput<R extends RouteContract = RouteContract> {
  params?: Record<string, string | number>;
  query?: QueryInput<R>;
  body?: BodyInput<R>;
  bytes?: Bytes;
  /** The same key and body again answers with what the first call created. */
  idempotencyKey?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Transport {
  /** Sends and parses the JSON answer; undefined for 204. */
  call: <R extends RouteContract>(route: R, input?: CallInput<R>) => Promise<AnswerOf<R>>;
  /** Sends and gives the response as it is, once its status says success. */
  open: <R extends RouteContract>(route: R, input?: CallInput<R>) => Promise<Response>;
}

export function createTransport(options: ClientOptions): Transport {
  const send = options.fetch ?? fetch;

  async function open<R extends RouteContract>(route: R, input: CallInput<R> = {}): Promise<Response> {
    const url = new URL(apiPrefix + fillPath(route.path, input.params ?? {}) + queryText(input.query), options.url);
    const request = requestOf(route, input, options.token);
    const response = await send(url, request).catch((error: unknown) => {
      if (input.signal?.aborted === true) throw error;
      throw new UnreachableError(options.url, error);
    });
    if (!response.ok) throw new ApiError(await problemOf(response));
    return response;
  }

  async function call<R extends RouteContract>(route: R, input: CallInput<R> = {}): Promise<AnswerOf<R>> {
    const response = await open(route, input);
    if (response.status === 204) return undefined as AnswerOf<R>;
    return (await response.json()) as AnswerOf<R>;
  }

  return { call, open };
}

/** `*` takes a path whose segments are encoded one by one; every other parameter is one segment. */
function fillPath(path: string, params: Record<string, string | number>): string {
  return path.replace(/:(\w+)|\*/g, (match, name: string | undefined) => {
    const value = String(params[name ?? '*'] ?? '');
    return match === '*' ? value.split('/').map(encodeURIComponent).join('/') : encodeURIComponent(value);
  });
}

function queryText(query: unknown): string {
  const entries = Object.entries((query ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return '';
  const search = new URLSearchParams(entries.map(([name, value]): [string, string] => [name, String(value)]));
  return `?${search.toString()}`;
}

function requestOf(route: RouteContract, input: CallInput, token: string): RequestInit {
  const headers: Record<string, string> = {
    authorization: `Bearer ${token}`,
    accept: route.rawAnswer ?? 'application/json',
    ...input.headers,
  };
  if (input.idempotencyKey !== undefined) headers['idempotency-key'] = input.idempotencyKey;
  const request: RequestInit & { duplex?: 'half' } = { method: route.method, headers };
  if (input.signal !== undefined) request.signal = input.signal;
  if (input.body !== undefined) {
    headers['content-type'] = 'application/json';
    request.body = JSON.stringify(input.body);
  } else if (input.bytes !== undefined) {
    headers['content-type'] = route.rawBody ?? 'application/octet-stream';
    request.body = input.bytes;
    request.duplex = 'half';
  }
  return request;
}

/** A proxy in between may answer with something that is no problem document. */
async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  const parsed = problemSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  return {
    type: problemType('internal-error'),
    title: response.statusText,
    status: response.status,
    code: 'internal-error',
    detail: `The server answered ${response.status} ${response.statusText} without saying why.`,
    errors: [],
    requestId: response.headers.get('x-request-id') ?? '',
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
