import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Token } from '#contract/tokens.ts';
import { DomainError } from '#core/errors.ts';
import { permissions, roleMay } from '#core/role.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { idCursor, pageOf } from '#api/paging.ts';
import { serve } from '#api/serve.ts';
import { issueToken, listTokens, type Principal, revokeToken, type TokenRow } from '#db/tokens.ts';

export function tokenRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps, access: Access): void {
  serve(app, routes.getMe, async ({ principal }) => ({
    owner: principal.owner,
    role: principal.role,
    project: principal.projectName,
    token: principal.tokenName,
    expiresAt: isoOrNull(principal.expiresAt),
    permissions: permissions.filter((permission) => roleMay(principal.role, permission)),
  }));

  serve(app, routes.listTokens, async ({ principal, query: { limit, cursor } }) => {
    const rows = await listTokens(db, { projectId: principal.projectId, limit: limit + 1, before: idCursor(cursor) });
    const page = pageOf(rows, limit, (row) => row.id);
    return { ...page, items: page.items.map(tokenView) };
  });

  serve(app, routes.issueToken, async ({ principal, body, request }) => {
    const projectId = await reachOf(access, principal, body.project);
    const { project: _project, owner = principal.owner, ...wanted } = body;
    const { row, token } = await issueToken(
      db,
      { ...wanted, owner, projectId, issuedBy: principal.owner },
      requestKey(request),
    );
    return { ...tokenView(row), token };
  });

  serve(app, routes.revokeToken, async ({ principal, params }) => {
    await revokeToken(db, params.id, principal);
  });
}

/** A token never reaches further than the one that issued it. */
async function reachOf(access: Access, principal: Principal, project: string | null): Promise<string | null> {
  if (project !== null) return (await access.project(principal, project)).id;
  if (principal.projectId === null) return null;
  throw new DomainError(
    'forbidden',
    `Your token reaches only the project ${principal.projectName}, so it can not issue one that reaches all. Name that project.`,
  );
}

function tokenView(row: TokenRow): Token {
  return {
    ...row,
    createdAt: row.createdAt.toISOString(),
    expiresAt: isoOrNull(row.expiresAt),
    lastUsedAt: isoOrNull(row.lastUsedAt),
    revokedAt: isoOrNull(row.revokedAt),
  };
}

function isoOrNull(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}
