// Projects: git repositories Assay knows.
import { z } from 'zod';
import { instant, page, pageQuery, projectRef, slug, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';

const remoteUrl = z
  .string()
  .max(2000)
  .describe('https:// or ssh:// address; null when code arrives only from the CLI.');
const branch = z.string().min(1).max(250);

export const project = z
  .object({
    id: uuid,
    name: z.string(),
    remoteUrl: z.string().nullable(),
    defaultBranch: z.string(),
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
    summary: 'Change the remote or the default branch of a project',
    params,
    body: z.strictObject({ remoteUrl: remoteUrl.nullable().optional(), defaultBranch: branch.optional() }),
    status: 200,
    answer: project,
    problems: ['not-found', 'invalid-remote', 'invalid-reference'],
  }),
};
