// A run's status, live. Each event is the whole new state of one thing, so a reader that missed some is right again with
// the next one.
import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { isFinished, type RunStatus } from '#core/run.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { type SentEvent, sendEvents } from '#api/event-stream.ts';
import type { RunChanges } from '#api/run-changes.ts';
import { loadSteps } from '#api/run-view.ts';
import { serve } from '#api/serve.ts';
import { createSummaryReader } from './runs.ts';

export interface Streams {
  changes: RunChanges;
  /** Fires when the server stops. */
  stopping: AbortSignal;
}

export function runEventRoutes(app: FastifyInstance, deps: ApiDeps, access: Access, streams: Streams): void {
  const summary = createSummaryReader(deps);

  /** Steps first, then the run, so that whoever sees the end has seen all steps. */
  async function lookAt(id: string): Promise<{ status: RunStatus; events: Array<SentEvent & { key: string }> }> {
    const run = await summary(id);
    const steps = await loadSteps(deps.connection.db, id);
    const parts = steps.map((step) => ({ key: step.name, event: 'step', data: step as unknown }));
    const durationMs = isFinished(run.status) ? run.durationMs : null;
    return { status: run.status, events: [...parts, { key: '', event: 'run', data: { ...run, durationMs } }] };
  }

  async function* follow(id: string, seen: ReadonlySet<string>, signal: AbortSignal): AsyncGenerator<SentEvent> {
    const watch = streams.changes.watch(id, signal);
    const sent = new Map<string, string>();
    while (!signal.aborted) {
      const { status, events } = await lookAt(id);
      for (const { key, event, data } of events) {
        const digest = digestOf(key, withoutClock(data));
        if (sent.get(key) === digest) continue;
        sent.set(key, digest);
        if (!seen.has(digest)) yield { event, id: [...sent.values()].join('.'), data };
      }
      if (isFinished(status)) return yield { event: 'end', data: { status } };
      await watch.changed();
    }
  }

  serve(app, routes.watchRun, async ({ principal, params, request, reply }) => {
    const id = await access.run(principal, params.run);
    const seen = new Set(String(request.headers['last-event-id'] ?? '').split('.'));
    return sendEvents(request, reply, streams.stopping, (signal) => follow(id, seen, signal));
  });
}

/** Durations of open things grow with every look, which is no change. */
function withoutClock(data: unknown): unknown {
  const { durationMs: _durationMs, ...rest } = data as { durationMs: unknown };
  return rest;
}

function digestOf(key: string, data: unknown): string {
  return createHash('sha256')
    .update(`${key}\n${JSON.stringify(data)}`)
    .digest('base64url')
    .slice(0, 12);
}
