// Finding what a request names, within what its token reaches. What is out of reach is answered as if it did not exist.
import type { Connection } from '#db/connect.ts';
import { DomainError } from '#core/errors.ts';
import { findModel, type ModelRow } from '#db/models.ts';
import { createProjectLookup, type FoundProject } from '#db/projects.ts';
import { findRunId } from '#db/run-summary.ts';
import type { Principal } from '#db/tokens.ts';

export interface Access {
  /** @throws not-found */
  project: (principal: Principal, idOrName: string) => Promise<FoundProject>;
  /** The id behind an id or a label. @throws not-found */
  run: (principal: Principal, reference: string) => Promise<string>;
  /** @throws not-found */
  model: (principal: Principal, name: string) => Promise<ModelRow>;
}

export function createAccess({ db, pool }: Connection): Access {
  const findProject = createProjectLookup(pool);
  return {
    async project(principal, idOrName) {
      const found = await findProject(idOrName);
      if (found === undefined || !reaches(principal, found.id)) throw notFound('project', idOrName);
      return found;
    },
    async run(principal, reference) {
      const id = await findRunId(db, reference, principal.projectId);
      if (id === undefined) throw notFound('run', reference);
      return id;
    },
    async model(principal, name) {
      const found = await findModel(db, name, principal.projectId);
      if (found === undefined) throw notFound('model', name);
      return found;
    },
  };
}

/** What concerns the whole server is not for a token of one project. @throws forbidden */
export function requireEveryProject(principal: Principal): void {
  if (principal.projectId === null) return;
  throw new DomainError(
    'forbidden',
    `Your token reaches only the project ${principal.projectName}, and this concerns all of them. Use a token without a project.`,
  );
}

function reaches(principal: Principal, projectId: string): boolean {
  return principal.projectId === null || principal.projectId === projectId;
}

const lists = {
  project: 'GET /api/v1/projects',
  run: 'GET /api/v1/runs',
  model: 'GET /api/v1/models',
} as const;

function notFound(noun: keyof typeof lists, name: string): DomainError {
  return new DomainError(
    'not-found',
    `There is no ${noun} "${name.slice(0, 200)}" that this token reaches. ${lists[noun]} lists them.`,
  );
}
