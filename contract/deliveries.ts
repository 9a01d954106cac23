// Deliveries: what git hosts say about a project's remote. Signed, not authorised by a token.
import { z } from 'zod';
import { deliveryOutcomes, deliverySources } from '#core/push.ts';
import { instant, page, pageQuery, projectRef, uuid } from './primitives.ts';
import { defineRoute, type RouteContract } from './route.ts';

export const deliveryAnswer = z
  .object({
    /** Null for an event that is not kept because it is neither a push nor a ping. */
    delivery: uuid.nullable(),
    outcome: z.enum(deliveryOutcomes),
    /** The run, such as `digits/42`, once there is one. */
    run: z.string().nullable(),
    /** Why there is no run. */
    reason: z.string().nullable(),
  })
  .meta({ id: 'DeliveryAnswer' });
export type DeliveryAnswer = z.output<typeof deliveryAnswer>;

export const delivery = z
  .object({
    id: uuid,
    source: z.enum(deliverySources),
    ref: z.string().nullable(),
    before: z.string().nullable(),
    commit: z.string().nullable(),
    outcome: z.enum(deliveryOutcomes),
    run: z.string().nullable(),
    reason: z.string().nullable(),
    /** Attempts to read the commit, and why the last one failed. */
    attempts: z.number().int(),
    failure: z.string().nullable(),
    receivedAt: instant,
    settledAt: instant.nullable(),
  })
  .meta({ id: 'Delivery' });
export type Delivery = z.output<typeof delivery>;

const description = [
  'Answers 202 when the delivery was taken in (its commit is read next) or has become a run, and 200 with a reason when',
  'it starts none. A delivery with the id of an earlier one is answered what that one became. One that is not signed',
  "with the project's webhook secret is answered 401, and so is one to a project that does not exist.",
].join(' ');

function receive<const Path extends string>(path: Path, summary: string) {
  return {
    method: 'POST',
    path,
    permission: 'signature',
    tag: 'hooks',
    summary,
    description,
    params: z.object({ project: projectRef }),
    rawBody: 'application/json',
    status: 200,
    otherStatus: 202,
    answer: deliveryAnswer,
    problems: ['unauthenticated', 'conflict', 'invalid-reference', 'payload-too-large', 'too-many-requests'],
  } as const satisfies RouteContract;
}

export const deliveryRoutes = {
  receiveGithub: defineRoute(receive('/hooks/github/:project', 'Take in a delivery of GitHub')),
  receiveGitlab: defineRoute(receive('/hooks/gitlab/:project', 'Take in a delivery of GitLab')),
  receiveGitea: defineRoute(receive('/hooks/gitea/:project', 'Take in a delivery of Gitea or Forgejo')),
  receiveGeneric: defineRoute(receive('/hooks/generic/:project', 'Take in a delivery signed as Standard Webhooks')),
  listDeliveries: defineRoute({
    method: 'GET',
    path: '/projects/:project/deliveries',
    permission: 'read',
    tag: 'hooks',
    summary: 'List what was announced about the remote, newest first',
    params: z.object({ project: projectRef }),
    query: z.object(pageQuery),
    status: 200,
    answer: page(delivery),
    problems: ['not-found'],
  }),
};
