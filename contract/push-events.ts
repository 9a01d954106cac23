// What git hosts send about a push, in their words → a push. Unknown keys are passed over: hosts add some every year.
import { z } from 'zod';
import type { HostKind, Push } from '#core/push.ts';

const objectId = z
  .string()
  .toLowerCase()
  .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'expected a full commit id');

const ref = z
  .string()
  .min(1)
  .max(300)
  .refine((text) => text.isWellFormed(), 'expected valid Unicode');

/** GitHub, Gitea, Forgejo and GitLab agree on these three; zeros stand for nothing. */
const pushPayload = z.object({ ref, before: objectId.nullish(), after: objectId.nullish() });

export type PushEvent =
  | { kind: 'push'; push: Push }
  | { kind: 'ping' }
  /** Signed, but nothing that starts runs; `what` is for people. */
  | { kind: 'other'; what: string };

/** The event headers of each host by which a push is known; every other event is passed over. */
const pushEvents: Record<HostKind, readonly string[]> = {
  github: ['push'],
  gitea: ['push'],
  gitlab: ['Push Hook', 'Tag Push Hook'],
};

/** @throws ZodError for a push without the fields of one. */
export function readHostEvent(host: HostKind, event: string, payload: unknown): PushEvent {
  if (event === 'ping') return { kind: 'ping' };
  if (!pushEvents[host].includes(event))
    return { kind: 'other', what: `The event ${JSON.stringify(event)} is no push.` };
  return { kind: 'push', push: pushOf(pushPayload.parse(payload)) };
}

const genericPayload = z.union(
  [
    z.object({ type: z.literal('ping') }),
    pushPayload.extend({ type: z.literal('push').optional(), after: objectId.nullable() }),
  ],
  'expected { ref: "refs/heads/…", after: a commit id or null, before: the commit id until now or null }',
);

/** @throws ZodError */
export function readGenericEvent(payload: unknown): PushEvent {
  const event = genericPayload.parse(payload);
  return 'ref' in event ? { kind: 'push', push: pushOf(event) } : { kind: 'ping' };
}

function pushOf(payload: z.output<typeof pushPayload>): Push {
  return { ref: payload.ref, before: commitOf(payload.before), after: commitOf(payload.after) };
}

function commitOf(id: string | null | undefined): string | null {
  return id === undefined || id === null || /^0+$/.test(id) ? null : id;
}
