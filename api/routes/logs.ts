// What stages printed. Reading goes stretch by stretch, so that a log of any length costs little memory.
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { LogEvent } from '#contract/logs.ts';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { isFinished, isStepClosed } from '#core/run.ts';
import type { Access } from '#api/access.ts';
import { fileHeaders } from '#api/blob-answer.ts';
import type { ApiDeps } from '#api/deps.ts';
import { type SentEvent, sendEvents } from '#api/event-stream.ts';
import { completeUtf8Bytes, formatPositions, parsePositions } from '#api/log-positions.ts';
import { serve } from '#api/serve.ts';
import { listLoggedAttempts, type LoggedAttempt } from '#db/logs.ts';
import { getRunSummary } from '#db/run-summary.ts';
import { listRunSteps } from '#db/runs.ts';
import { readLog } from '#storage/log-bytes.ts';
import type { Streams } from './run-events.ts';

interface Wanted {
  step?: string | undefined;
  attempt?: number | undefined;
}

export function logRoutes(app: FastifyInstance, deps: ApiDeps, access: Access, streams: Streams): void {
  const { db } = deps.connection;

  serve(app, routes.readLogs, async ({ principal, params, query, reply }) => {
    const id = await access.run(principal, params.run);
    const logs = await newestLogs(deps, id, query);
    if (query.step === undefined && query.from !== 0) throw fromNeedsStep();
    const text = Readable.from(query.step === undefined ? headed(deps, logs) : bytesOf(deps, logs[0], query.from), {
      objectMode: false,
    });
    return fileHeaders(reply, { mediaType: 'text/plain', filename: 'log.txt' })
      .header('content-disposition', 'inline; filename="log.txt"')
      .send(text);
  });

  serve(app, routes.followLogs, async ({ principal, params, query, request, reply }) => {
    const id = await access.run(principal, params.run);
    if (query.step !== undefined) await requireStep(deps, id, query.step);
    const positions = parsePositions(String(request.headers['last-event-id'] ?? ''));
    return sendEvents(request, reply, streams.stopping, (signal) => follow(id, query, positions, signal));
  });

  async function* follow(
    id: string,
    wanted: Wanted,
    positions: Map<string, number>,
    signal: AbortSignal,
  ): AsyncGenerator<SentEvent> {
    const watch = streams.changes.watch(id, signal);
    while (!signal.aborted) {
      // Whether it is closed is asked before the log is read, so that the last lines are never missed.
      const closed = await isClosed(deps, id, wanted.step);
      for (const log of await attemptsToFollow(deps, id, wanted)) {
        for await (const data of newText(deps, id, log, positions, closed || !log.isOpen)) {
          yield { event: 'log', id: formatPositions(positions), data };
        }
      }
      if (closed) return yield { event: 'end', data: { run: id } };
      await watch.changed();
    }
  }

  /** Also refuses a step that does not exist, by the steps the run has. */
  async function newestLogs(apiDeps: ApiDeps, id: string, wanted: Wanted): Promise<LoggedAttempt[]> {
    if (wanted.step !== undefined) await requireStep(apiDeps, id, wanted.step);
    const all = (await listLoggedAttempts(db, id)).filter((log) => matches(log, wanted));
    const newest = new Map(all.map((log) => [log.step, log]));
    if (wanted.attempt !== undefined && newest.size === 0) throw noAttempt(wanted);
    return [...newest.values()];
  }
}

function matches(log: LoggedAttempt, { step, attempt }: Wanted): boolean {
  return (step === undefined || log.step === step) && (attempt === undefined || log.attempt === attempt);
}

/** All attempts of open and later steps in their order; without a wish for one, a repeated stage shows each of its tries. */
async function attemptsToFollow({ connection: { db } }: ApiDeps, id: string, wanted: Wanted): Promise<LoggedAttempt[]> {
  const all = (await listLoggedAttempts(db, id)).filter((log) => matches(log, wanted));
  return all.filter((log) => log.sizeBytes > 0);
}

async function* newText(
  deps: ApiDeps,
  id: string,
  log: LoggedAttempt,
  positions: Map<string, number>,
  isComplete: boolean,
): AsyncGenerator<LogEvent> {
  // A step may have an attempt of its own and a result of another run's attempt of that number.
  const key = `${log.step}${log.runId === id ? '' : '.reused'}:${log.attempt}`;
  const from = positions.get(key) ?? 0;
  if (from >= log.sizeBytes) return;
  // The beginning of a character whose end lies in the next stretch.
  let held = Buffer.alloc(0);
  for await (const stretch of readLog(logsOf(deps), log, from)) {
    const bytes = held.length === 0 ? stretch.bytes : Buffer.concat([held, stretch.bytes]);
    const offsetBytes = stretch.offsetBytes - held.length;
    const isLast = isComplete && offsetBytes + bytes.length >= log.sizeBytes;
    const readyBytes = isLast ? bytes.length : completeUtf8Bytes(bytes);
    held = Buffer.from(bytes.subarray(readyBytes));
    if (readyBytes === 0) continue;
    positions.set(key, offsetBytes + readyBytes);
    yield { step: log.step, attempt: log.attempt, offsetBytes, text: bytes.toString('utf8', 0, readyBytes) };
  }
}

function logsOf({ connection: { db }, store }: ApiDeps) {
  return { db, store };
}

/** A negative `from` counts from the end. */
async function* bytesOf(deps: ApiDeps, log: LoggedAttempt | undefined, from: number): AsyncGenerator<Buffer> {
  if (log === undefined) return;
  const start = from < 0 ? Math.max(0, log.sizeBytes + from) : from;
  for await (const { bytes } of readLog(logsOf(deps), log, start)) yield bytes;
}

async function* headed(deps: ApiDeps, logs: readonly LoggedAttempt[]): AsyncGenerator<Buffer> {
  for (const [at, log] of logs.filter(({ sizeBytes }) => sizeBytes > 0).entries()) {
    const attempt = log.attempt <= 1 ? '' : ` (attempt ${log.attempt})`;
    yield Buffer.from(`${at === 0 ? '' : '\n'}==> ${log.step}${attempt} <==\n`);
    yield* bytesOf(deps, log, 0);
  }
}

async function isClosed({ connection: { db } }: ApiDeps, id: string, step: string | undefined): Promise<boolean> {
  const run = await getRunSummary(db, id);
  if (run === undefined || isFinished(run.status)) return true;
  if (step === undefined) return false;
  const found = (await listRunSteps(db, id)).find((row) => row.name === step);
  return found !== undefined && isStepClosed(found.status);
}

async function requireStep({ connection: { db } }: ApiDeps, id: string, name: string): Promise<void> {
  const names = (await listRunSteps(db, id)).map((row) => row.name);
  if (names.includes(name)) return;
  // Before resolve-commit is done nobody knows which stages there will be.
  const known = names.length === 0 ? 'It has no steps yet' : `Its steps are ${names.join(', ')}`;
  throw new DomainError('not-found', `The run has no step "${name}". ${known}.`);
}

function noAttempt({ step, attempt }: Wanted): DomainError {
  return new DomainError(
    'not-found',
    `${step === undefined ? 'No step' : `The step ${step}`} has an attempt ${attempt}.`,
  );
}

function fromNeedsStep(): DomainError {
  const message = '`from` counts the bytes of one log, so it needs `step`';
  return new DomainError('invalid-request', `${message}.`, [{ path: 'query.from', message }]);
}
