// How the engine is asked: every question is bounded, and one that it could not answer is told from one it refused.

import { setTimeout } from 'node:timers/promises';
import Docker from 'dockerode';

const answerMs = 30_000;
const startMs = 60_000;
const pausesMs = { first: 100, longest: 2_000 };
const awayCodes = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'];

interface EngineError extends Error {
  code?: string;
  syscall?: string;
  statusCode?: number;
  json?: { message?: string };
}

/** `host` is unix://PATH: stages share directories with the engine, so it is on this machine. */
export function connectDocker(host: string): Docker {
  return new Docker({ socketPath: host.replace(/^unix:\/\//, '') });
}

/** True where the engine did not answer: it is stopped, starts, or was killed in the middle of the answer. */
export function isAway(error: unknown): boolean {
  const { code = '', syscall } = error as EngineError;
  return awayCodes.includes(code) || (code === 'ENOENT' && syscall === 'connect');
}

export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  return statuses.includes((error as EngineError).statusCode ?? 0);
}

/** The engine's own words, without what the client puts around them. */
export function wordsOf(error: unknown): string {
  const { json, message } = error as EngineError;
  return (json?.message ?? message).trim();
}

/** For a worker that starts beside its engine. Rejects with a sentence when the engine does not come. */
export async function untilEngineAnswers(docker: Docker, host: string, boundMs = startMs): Promise<void> {
  try {
    await askUntilAnswered(() => docker.ping(), AbortSignal.timeout(boundMs));
  } catch (error) {
    const why =
      (error as Error).name === 'TimeoutError' ? `it did not answer within ${boundMs / 1000} s` : wordsOf(error);
    throw new Error(`Stages are to run in containers, but the Docker engine at ${host} can not be used: ${why}.`, {
      cause: error,
    });
  }
}

/** The client never settles when an engine dies in the middle of an answer, so every call is bounded here. */
export async function ask<T>(call: () => Promise<T>, boundMs = answerMs): Promise<T> {
  const bound = new AbortController();
  const late = setTimeout(boundMs, null, { signal: bound.signal }).then(() => {
    throw Object.assign(new Error(`The Docker engine did not answer within ${boundMs / 1000} s.`), {
      code: 'ETIMEDOUT',
    });
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([call(), late]);
  } finally {
    bound.abort();
  }
}

/** Asks again while the engine is away. Rejects with the reason of `abort`, and with everything else at once. */
async function askUntilAnswered<T>(call: () => Promise<T>, abort?: AbortSignal): Promise<T> {
  let pauseMs = pausesMs.first;
  for (;;) {
    try {
      return await ask(call);
    } catch (error) {
      abort?.throwIfAborted();
      if (!isAway(error)) throw error;
    }
    await setTimeout(pauseMs, undefined, { signal: abort }).catch(() => abort?.throwIfAborted());
    pauseMs = Math.min(pausesMs.longest, pauseMs * 2);
  }
}

/** Null in place of an answer that such a thing does not exist. */
export async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    throw error;
  }
}
