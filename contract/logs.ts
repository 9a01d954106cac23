// What stages printed: as text, and live.
import { z } from 'zod';
import { ordinal, runRef } from './primitives.ts';
import { defineRoute } from './route.ts';

const stepName = z.string().min(1).max(100);

/** The data of a `log` event. The event's id resumes exactly after it. */
export const logEvent = z.object({
  step: z.string(),
  /** From 1; 0 for a step of the platform. */
  attempt: z.number().int(),
  /** Position of the first byte of `text` in the attempt's log. */
  offsetBytes: z.number().int(),
  text: z.string(),
});
export type LogEvent = z.output<typeof logEvent>;

export const logRoutes = {
  readLogs: defineRoute({
    method: 'GET',
    path: '/runs/:run/logs',
    permission: 'read',
    tag: 'logs',
    summary: 'Read logs as text',
    description:
      'Without `step`, the newest attempt of every step that printed something, in order, each under a heading. `from` skips that many bytes; a negative one takes the last bytes.',
    params: z.object({ run: runRef }),
    query: z.object({
      step: stepName.optional(),
      /** The newest when absent. */
      attempt: ordinal.optional(),
      from: z.coerce.number().int().min(-1_000_000_000_000).max(1_000_000_000_000).default(0),
    }),
    status: 200,
    rawAnswer: 'text/plain',
    problems: ['not-found', 'invalid-request'],
  }),
  followLogs: defineRoute({
    method: 'GET',
    path: '/runs/:run/logs/events',
    permission: 'read',
    tag: 'logs',
    summary: 'Follow logs live (server-sent events)',
    description:
      'Events `log` (a LogEvent) until the step, or without `step` the run, is closed; then `end`. Last-Event-ID resumes at the byte.',
    params: z.object({ run: runRef }),
    query: z.object({ step: stepName.optional(), attempt: ordinal.optional() }),
    status: 200,
    rawAnswer: 'text/event-stream',
    problems: ['not-found', 'invalid-request'],
  }),
};
