import type { FastifyInstance } from 'fastify';
import { pollSecondsOf, type Project } from '#contract/projects.ts';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { pageOf, textCursor } from '#api/paging.ts';
import { serve } from '#api/serve.ts';
import { changeProject, createProject, getProject, listProjects, type ProjectRow } from '#db/projects.ts';
import { parseReference } from '#git/reference.ts';
import { parseRemote } from '#git/remote.ts';

export function projectRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps, access: Access): void {
  serve(app, routes.listProjects, async ({ principal, query: { limit, cursor } }) => {
    const wanted = { onlyId: principal.projectId, limit: limit + 1, after: textCursor(cursor) };
    const page = pageOf(await listProjects(db, wanted), limit, (row) => row.name);
    return { ...page, items: page.items.map(projectView) };
  });

  serve(app, routes.createProject, async ({ principal, body, request, reply }) => {
    if (principal.projectId !== null) throw boundToProject(principal.projectName);
    checkSource(body);
    const row = await createProject(db, { ...body, createdBy: principal.owner }, requestKey(request));
    reply.header('location', `/api/v1/projects/${row.name}`);
    return projectView(row);
  });

  serve(app, routes.getProject, async ({ principal, params }) => {
    const { id } = await access.project(principal, params.project);
    const row = await getProject(db, id);
    if (row === undefined) throw new TypeError(`Project ${id} is gone although projects are never deleted.`);
    return projectView(row);
  });

  serve(app, routes.changeProject, async ({ principal, params, body }) => {
    const { id } = await access.project(principal, params.project);
    checkSource(body);
    const { poll, ...change } = body;
    const polling = poll === undefined ? {} : { pollSeconds: poll === null ? null : pollSecondsOf(poll) };
    return projectView(await changeProject(db, id, { ...change, ...polling }, principal.owner));
  });
}

/** The rules of git/: https and ssh only, no names that look like options. Nothing is contacted. */
function checkSource(body: { remoteUrl?: string | null | undefined; defaultBranch?: string | undefined }): void {
  if (typeof body.remoteUrl === 'string') parseRemote(body.remoteUrl);
  if (body.defaultBranch !== undefined) parseReference(body.defaultBranch);
}

function boundToProject(name: string | null): DomainError {
  return new DomainError('forbidden', `Your token reaches only the project ${name}, so it can not create another one.`);
}

function projectView(row: ProjectRow): Project {
  const { nextRunNumber, ...project } = row;
  return { ...project, runs: nextRunNumber - 1, createdAt: row.createdAt.toISOString() };
}
