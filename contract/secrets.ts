// Secrets of a project: written and named here, never read back.
import { z } from 'zod';
import { instant, projectRef, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const secretName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'expected the name of an environment variable, for example HF_TOKEN');

export const secret = z
  .object({ name: z.string(), version: z.number().int(), createdBy: z.string(), createdAt: instant })
  .meta({ id: 'Secret', description: 'Which secret exists; the value is never answered.' });
export type Secret = z.output<typeof secret>;

const params = z.object({ project: projectRef, name: secretName });

export const secretRoutes = {
  listSecrets: defineRoute({
    method: 'GET',
    path: '/projects/:project/secrets',
    permission: 'read',
    tag: 'secrets',
    summary: 'List the names and versions of secrets',
    params: z.object({ project: projectRef }),
    status: 200,
    answer: whole(secret),
    problems: ['not-found'],
  }),
  setSecret: defineRoute({
    method: 'PUT',
    path: '/projects/:project/secrets/:name',
    permission: 'secrets',
    tag: 'secrets',
    summary: 'Set a secret; the new value is a new version',
    params,
    body: z.strictObject({ value: z.string().min(1).max(65_536) }),
    status: 200,
    answer: secret,
    problems: ['not-found'],
  }),
  deleteSecret: defineRoute({
    method: 'DELETE',
    path: '/projects/:project/secrets/:name',
    permission: 'secrets',
    tag: 'secrets',
    summary: 'Delete a secret; its stored values are erased',
    params,
    status: 204,
    problems: ['not-found'],
  }),
};
