// Tokens: who may call, in which role, for which project, until when.
import { z } from 'zod';
import { permissions, roles } from '#core/role.ts';
import { instant, page, pageQuery, projectRef, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';

const issuable = roles.filter((role) => role !== 'stage');

export const token = z
  .object({
    id: uuid,
    name: z.string(),
    owner: z.string(),
    role: z.enum(roles),
    /** The only project it reaches; null reaches every project. */
    project: z.string().nullable(),
    createdAt: instant,
    expiresAt: instant.nullable(),
    lastUsedAt: instant.nullable(),
    revokedAt: instant.nullable(),
  })
  .meta({ id: 'Token' });
export type Token = z.output<typeof token>;

export const issuedToken = token
  .extend({ token: z.string().describe('Shown this once; only its hash is stored.') })
  .meta({ id: 'IssuedToken' });
export type IssuedToken = z.output<typeof issuedToken>;

export const issueTokenBody = z
  .strictObject({
    name: z.string().min(1).max(100),
    /** The person or service it speaks for; yours when absent. */
    owner: z.string().min(1).max(200).optional(),
    role: z.enum(issuable as [(typeof issuable)[number], ...typeof issuable]),
    project: projectRef.nullable().default(null),
    /** Days until it expires; null never does. */
    expiresInDays: z.number().int().min(1).max(3650).nullable().default(90),
  })
  .meta({ id: 'IssueToken' });
export type IssueToken = z.input<typeof issueTokenBody>;

export const me = z
  .object({
    owner: z.string(),
    role: z.enum(roles),
    project: z.string().nullable(),
    token: z.string().describe('The name of the token that was used.'),
    expiresAt: instant.nullable(),
    permissions: z.array(z.enum(permissions)),
  })
  .meta({ id: 'Me' });
export type Me = z.output<typeof me>;

export const tokenRoutes = {
  getMe: defineRoute({
    method: 'GET',
    path: '/me',
    permission: 'read',
    tag: 'tokens',
    summary: 'Who this token is and what it may do',
    status: 200,
    answer: me,
    problems: [],
  }),
  listTokens: defineRoute({
    method: 'GET',
    path: '/tokens',
    permission: 'tokens',
    tag: 'tokens',
    summary: 'List tokens, newest first',
    query: z.object(pageQuery),
    status: 200,
    answer: page(token),
    problems: [],
  }),
  issueToken: defineRoute({
    method: 'POST',
    path: '/tokens',
    permission: 'tokens',
    tag: 'tokens',
    summary: 'Issue a token; the answer is the only time it is shown',
    description:
      'Repeated with the same Idempotency-Key, the same token gets a fresh secret and the one before stops working.',
    body: issueTokenBody,
    status: 201,
    answer: issuedToken,
    problems: ['not-found', 'forbidden', 'idempotency-conflict'],
    idempotent: true,
  }),
  revokeToken: defineRoute({
    method: 'DELETE',
    path: '/tokens/:id',
    permission: 'tokens',
    tag: 'tokens',
    summary: 'Revoke a token',
    params: z.object({ id: uuid }),
    status: 204,
    problems: ['not-found'],
  }),
};
