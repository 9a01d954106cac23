// Everything that can be found wrong with a project before it runs.
import { readDeclaredParams } from '#contract/read-project.ts';
import { DomainError } from '#core/errors.ts';
import { resolveParams } from '#core/params.ts';
import type { DataSource } from '#core/project.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { createClient } from '#sdk/client.ts';
import type { Client } from '#sdk/client.ts';
import type { Context } from '#cli/context.ts';
import { type LocalProject, readLocalProject } from './local-project.ts';
import { findServer } from '#cli/settings.ts';

export interface Finding {
  level: 'error' | 'warning' | 'note';
  /** `file:line`, or empty. */
  place: string;
  message: string;
}

type Query = Extract<DataSource, { kind: 'query' }>;

export async function lintProject(context: Context, root: string): Promise<Finding[]> {
  const project = await refused(() => readLocalProject(root));
  if (Array.isArray(project)) return project;
  const { config, warnings } = project;
  return [
    ...warnings.map(({ file, line, message }): Finding => ({ level: 'warning', place: `${file}:${line}`, message })),
    ...config.notYet.map((message): Finding => ({ level: 'warning', place: '', message })),
    ...(await lintParams(project)),
    ...(await lintQueries(context, project)),
  ];
}

async function lintParams({ repository, config }: LocalProject): Promise<Finding[]> {
  const found = await refused(async () => {
    const declared = await readDeclaredParams(repository, config);
    return resolveParams(declared, {}, config.params.style);
  });
  return Array.isArray(found) ? found : [];
}

/** Only the server knows the tables and has the guard that every query passes. */
async function lintQueries(context: Context, { config, repository }: LocalProject): Promise<Finding[]> {
  const queries = config.data.filter((source) => source.kind === 'query');
  if (queries.length === 0) return [];
  const server = await findServer(context.env);
  const client = server.token === null ? null : createClient({ url: server.url, token: server.token });
  const lists = await Promise.all(
    queries.map(async (query) => lintQuery(client, query, await repository.read(query.query))),
  );
  return lists.flat();
}

async function lintQuery(client: Client | null, { query: file }: Query, sql: string | null): Promise<Finding[]> {
  if (sql === null) return [{ level: 'error', place: file, message: 'found no such file; expected a query.' }];
  const unchecked: Finding = { level: 'note', place: file, message: 'not checked, because no server answers.' };
  if (client === null) return [unchecked];
  try {
    await checkQuery(client, sql);
    return [];
  } catch (error) {
    if (error instanceof UnreachableError || (error instanceof ApiError && error.status === 401)) return [unchecked];
    if (error instanceof ApiError) return [{ level: 'error', place: file, message: error.problem.detail }];
    throw error;
  }
}

/** Asked for no rows; a query that is refused in this form is asked as it is, for a reason in its own words. */
async function checkQuery(client: Client, sql: string): Promise<void> {
  const query = `SELECT * FROM (\n${sql.trim().replace(/;$/, '')}\n) LIMIT 0`;
  try {
    await client.lake.query({ query });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500 || error.status === 401) throw error;
    await client.lake.query({ query: sql });
  }
}

/** The findings of a refusal, or the result. */
async function refused<T extends object>(read: () => Promise<T>): Promise<T | Finding[]> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    if (error.details.length === 0) return [{ level: 'error', place: '', message: error.message }];
    return error.details.map(({ file, line, path, message }): Finding => {
      const place = file === undefined ? path : line === undefined ? file : `${file}:${line}`;
      return { level: 'error', place, message };
    });
  }
}
