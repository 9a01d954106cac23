// Code that comes from a checkout: which commits the server has, and bundles of those it lacks.
import { z } from 'zod';
import { gitSha, projectRef } from './primitives.ts';
import { defineRoute } from './route.ts';

const params = z.object({ project: projectRef });

export const bundleResult = z.object({ commit: gitSha, tree: gitSha }).meta({ id: 'ReceivedCommit' });
export type BundleResult = z.output<typeof bundleResult>;

export const codeRoutes = {
  negotiateCode: defineRoute({
    method: 'POST',
    path: '/projects/:project/code/negotiate',
    permission: 'run',
    tag: 'code',
    summary: 'Ask which commits the server already has',
    params,
    body: z.strictObject({ commits: z.array(gitSha).min(1).max(1000) }),
    status: 200,
    answer: z.object({ have: z.array(gitSha) }),
    problems: ['not-found'],
  }),
  sendBundle: defineRoute({
    method: 'POST',
    path: '/projects/:project/code/bundles',
    permission: 'run',
    tag: 'code',
    summary: 'Send a git bundle that holds one commit',
    description:
      'The bundle is checked in quarantine; only the named commit is kept. Sending it again changes nothing.',
    params,
    query: z.object({ commit: gitSha }),
    rawBody: 'application/octet-stream',
    status: 201,
    answer: bundleResult,
    problems: ['not-found', 'commit-not-found', 'source-refused', 'source-too-large', 'payload-too-large'],
  }),
};
