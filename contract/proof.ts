// What proves a run: its signed statement, the bundle that can be checked without this server, and the public keys.
import { z } from 'zod';
import { instant, runRef, sha256, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const signingKey = z
  .object({
    /** sha256 of the key as SubjectPublicKeyInfo in DER. */
    keyId: sha256,
    /** PEM. */
    publicKey: z.string(),
    createdAt: instant,
  })
  .meta({ id: 'SigningKey', description: 'The public half of an Ed25519 key that signs statements about runs.' });
export type SigningKey = z.output<typeof signingKey>;

const params = z.object({ run: runRef });

export const proofRoutes = {
  listKeys: defineRoute({
    method: 'GET',
    path: '/keys',
    permission: 'public',
    tag: 'proof',
    summary: 'List the public keys that statements are signed with, newest first',
    description: 'Keys of former times stay: what they signed is verified with them.',
    status: 200,
    answer: whole(signingKey),
    problems: [],
  }),
  getRunStatement: defineRoute({
    method: 'GET',
    path: '/runs/:run/statement',
    permission: 'read',
    tag: 'proof',
    summary: 'Get the signed statement: a DSSE envelope with an in-toto statement and SLSA provenance',
    params,
    status: 200,
    rawAnswer: 'application/json',
    problems: ['not-found'],
  }),
  getRunBundle: defineRoute({
    method: 'GET',
    path: '/runs/:run/bundle',
    permission: 'read',
    tag: 'proof',
    summary: 'Get everything of a run as one tar archive that proves itself',
    description:
      'Equal facts give equal bytes, so a download that broke off goes on: Range, If-Range and If-None-Match are understood.',
    params,
    query: z.object({ data: z.enum(['include', 'leave-out']).default('include') }),
    status: 200,
    rawAnswer: 'application/x-tar',
    problems: ['not-found', 'blob-missing'],
  }),
};
