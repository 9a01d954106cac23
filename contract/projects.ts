// Projects: git repositories Assay knows.
import { z } from 'zod';
import { hostKinds } from '#core/push.ts';
import { parseDuration } from '#core/quantities.ts';
import { instant, page, pageQuery, projectRef, slug, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';

const remoteUrl = z
  .string()
  .max(2000)
  .describe('https:// or ssh:// address; null when code arrives only from the CLI.');
const branch = z.string().min(1).max(250);

const pollSecondsMin = 60;
const pollSecondsMax = 86_400;

/** 0 for `off`; null for a text that is no time within the bounds. */
export function pollSecondsOf(text: string): number | null {
  const seconds = text === 'off' ? 0 : (parseDuration(text) ?? -1_000) / 1_000;
  return seconds === 0 || (seconds >= pollSecondsMin && seconds <= pollSecondsMax) ? seconds : null;
}

const poll = z
  .string()
  .refine((text) => pollSecondsOf(text) !== null, 'expected off, or a time from 1m to 1d')
  .describe('How often the remote is asked for new heads. Null: every 5 minutes where pushes start runs.');
const hostKind = z
  .enum(hostKinds)
  .describe("Which API the remote's host speaks, where its name does not say so; Forgejo speaks gitea.");

export const project = z
  .object({
    id: uuid,
    name: z.string(),
    remoteUrl: z.string().nullable(),
    defaultBranch: z.string(),
    /** In seconds; 0 is off, null the default. */
    pollSeconds: z.number().int().nullable(),
    hostKind: z.enum(hostKinds).nullable(),
    runs: z.number().int(),
    createdBy: z.string(),
    createdAt: instant,
  })
  .meta({ id: 'Project' });
export type Project = z.output<typeof project>;

export const createProjectBody = z
  .strictObject({
    name: slug,
    remoteUrl: remoteUrl.nullable().default(null),
    defaultBranch: branch.default('main'),
  })
  .meta({ id: 'CreateProject' });
export type CreateProject = z.input<typeof createProjectBody>;

const params = z.object({ project: projectRef });

export const projectRoutes = {
  listProjects: defineRoute({
    method: 'GET',
    path: '/projects',
    permission: 'read',
    tag: 'projects',
    summary: 'List projects by name',
    query: z.object(pageQuery),
    status: 200,
    answer: page(project),
    problems: [],
  }),
  createProject: defineRoute({
    method: 'POST',
    path: '/projects',
    permission: 'projects',
    tag: 'projects',
    summary: 'Create a project',
    body: createProjectBody,
    status: 201,
    answer: project,
    problems: ['conflict', 'invalid-remote', 'invalid-reference', 'idempotency-conflict'],
    idempotent: true,
  }),
  getProject: defineRoute({
    method: 'GET',
    path: '/projects/:project',
    permission: 'read',
    tag: 'projects',
    summary: 'Get a project by id or name',
    params,
    status: 200,
    answer: project,
    problems: ['not-found'],
  }),
  changeProject: defineRoute({
    method: 'PATCH',
    path: '/projects/:project',
    permission: 'projects',
    tag: 'projects',
    summary: 'Change the remote of a project, how it is watched, or the default branch',
    params,
    body: z.strictObject({
      remoteUrl: remoteUrl.nullable().optional(),
      defaultBranch: branch.optional(),
      poll: poll.nullable().optional(),
      hostKind: hostKind.nullable().optional(),
    }),
    status: 200,
    answer: project,
    problems: ['not-found', 'invalid-remote', 'invalid-reference'],
  }),
};
