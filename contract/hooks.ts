// Webhooks of a project: the secret that its git host signs with, and how the remote is watched.
import { z } from 'zod';
import { instant, projectRef } from './primitives.ts';
import { defineRoute } from './route.ts';

export const hook = z
  .object({
    /** Where each host is to deliver. */
    urls: z.object({ github: z.url(), gitlab: z.url(), gitea: z.url(), generic: z.url() }),
    createdBy: z.string(),
    createdAt: instant,
    /** Until when the secret before the last rotation is valid too. */
    previousUntil: instant.nullable(),
    /** The newest look at the remote, and why it failed if it did. */
    polledAt: instant.nullable(),
    pollFailure: z.string().nullable(),
    /** Why the host could not be told about the newest run, if so. */
    statusFailure: z.string().nullable(),
  })
  .meta({ id: 'Hook' });
export type Hook = z.output<typeof hook>;

export const issuedHook = hook
  .extend({ secret: z.string() })
  .meta({ id: 'IssuedHook', description: 'The secret is answered this once.' });
export type IssuedHook = z.output<typeof issuedHook>;

const params = z.object({ project: projectRef });

export const hookRoutes = {
  createHook: defineRoute({
    method: 'POST',
    path: '/projects/:project/hook',
    permission: 'secrets',
    tag: 'hooks',
    summary: 'Make the webhook of a project; the secret is shown once',
    params,
    status: 201,
    answer: issuedHook,
    problems: ['not-found', 'conflict', 'idempotency-conflict'],
    idempotent: true,
  }),
  getHook: defineRoute({
    method: 'GET',
    path: '/projects/:project/hook',
    permission: 'read',
    tag: 'hooks',
    summary: 'Get the webhook of a project, without its secret',
    params,
    status: 200,
    answer: hook,
    problems: ['not-found'],
  }),
  rotateHook: defineRoute({
    method: 'POST',
    path: '/projects/:project/hook/rotate',
    permission: 'secrets',
    tag: 'hooks',
    summary: 'Make a new secret; the one before stays valid for a day',
    params,
    status: 201,
    answer: issuedHook,
    problems: ['not-found', 'idempotency-conflict'],
    idempotent: true,
  }),
  deleteHook: defineRoute({
    method: 'DELETE',
    path: '/projects/:project/hook',
    permission: 'secrets',
    tag: 'hooks',
    summary: 'Remove the webhook; deliveries are refused from now on',
    params,
    status: 204,
    problems: ['not-found'],
  }),
};
