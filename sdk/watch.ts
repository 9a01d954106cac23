// Following a run or its logs over server-sent events, across dropped connections.
import { type LogEvent, logRoutes } from '#contract/logs.ts';
import type { RouteContract } from '#contract/route.ts';
import { type RunSummary, type Step, runRoutes } from '#contract/runs.ts';
import { UnreachableError } from './api-error.ts';
import { readEvents, type ServerEvent } from './event-stream.ts';
import type { CallInput, Transport } from './transport.ts';

export type RunEvent = { kind: 'run'; run: RunSummary } | { kind: 'step'; step: Step };

export interface FollowOptions {
  signal?: AbortSignal;
  /** How often in a row a dropped connection is opened again before the error is thrown. */
  reconnectsMax?: number;
}

const firstDelayMs = 250;

/** Changes of a run and its steps until the run is finished; the first events say how it stands now. */
export async function* watchRun(transport: Transport, run: string, options: FollowOptions = {}) {
  const input = { params: { run } };
  for await (const event of follow(transport, runRoutes.watchRun, input, options)) {
    if (event.event === 'run') yield { kind: 'run', run: JSON.parse(event.data) as RunSummary } satisfies RunEvent;
    if (event.event === 'step') yield { kind: 'step', step: JSON.parse(event.data) as Step } satisfies RunEvent;
  }
}

/** What the stages print, until the step (or without one, the run) is closed. */
export async function* followLogs(
  transport: Transport,
  run: string,
  options: FollowOptions & { step?: string; attempt?: number } = {},
): AsyncGenerator<LogEvent> {
  const query = {
    ...(options.step === undefined ? {} : { step: options.step }),
    ...(options.attempt === undefined ? {} : { attempt: options.attempt }),
  };
  for await (const event of follow(transport, logRoutes.followLogs, { params: { run }, query }, options)) {
    if (event.event === 'log') yield JSON.parse(event.data) as LogEvent;
  }
}

async function* follow<R extends RouteContract>(
  transport: Transport,
  route: R,
  input: CallInput<R>,
  options: FollowOptions,
): AsyncGenerator<ServerEvent> {
  const left = { reconnects: options.reconnectsMax ?? 10, delayMs: firstDelayMs };
  let lastId: string | null = null;
  for (;;) {
    try {
      const headers: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
      const response = await transport.open(route, { ...input, ...signalOf(options), headers });
      for await (const event of readEvents(response.body ?? new ReadableStream())) {
        left.reconnects = options.reconnectsMax ?? 10;
        left.delayMs = firstDelayMs;
        lastId = event.id ?? lastId;
        if (event.event === 'end') return;
        yield event;
      }
    } catch (error) {
      if (!isBroken(error) || options.signal?.aborted === true || left.reconnects === 0) throw error;
    }
    left.reconnects -= 1;
    if (left.reconnects < 0) throw new UnreachableError('the event stream', null);
    await pause(left.delayMs, options.signal);
    left.delayMs = Math.min(left.delayMs * 2, 5_000);
  }
}

function signalOf(options: FollowOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

/** fetch reports a connection that broke in the middle as a TypeError. */
function isBroken(error: unknown): boolean {
  return error instanceof UnreachableError || error instanceof TypeError;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
