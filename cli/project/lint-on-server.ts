// What only the server knows of what a project names: tables, datasets and secrets.
import type { DataSource, ProjectConfig } from '#core/project.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { type Client, createClient } from '#sdk/client.ts';
import type { Context } from '#cli/context.ts';
import { findServer } from '#cli/settings.ts';
import type { Finding } from './finding.ts';
import type { LocalProject } from './local-project.ts';

type Query = Extract<DataSource, { kind: 'query' }>;

/** Without a server that answers, each thing left unchecked is a note. */
export async function lintOnServer(context: Context, { config, repository }: LocalProject): Promise<Finding[]> {
  const server = await findServer(context.env);
  const client = server.token === null ? null : createClient({ url: server.url, token: server.token });
  const lists = await Promise.all([
    ...config.data.map(async (source) =>
      source.kind === 'query'
        ? lintQuery(client, source, await repository.read(source.query))
        : ask(client, `data.${source.name}.dataset`, (asked) => asked.datasets.get(source.dataset)),
    ),
    lintSecrets(client, config),
  ]);
  return lists.flat();
}

async function lintQuery(client: Client | null, { query: file }: Query, sql: string | null): Promise<Finding[]> {
  if (sql === null) return [{ level: 'error', place: file, message: 'found no such file; expected a query.' }];
  return ask(client, file, (asked) => checkQuery(asked, sql));
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

/** A warning, because the value is the server's and the file itself is right. */
async function lintSecrets(client: Client | null, config: ProjectConfig): Promise<Finding[]> {
  if (config.secrets.length === 0) return [];
  const set = new Set<string>();
  const findings = await ask(client, 'secrets', async (asked) => {
    for (const { name } of await secretsOf(asked, config.project)) set.add(name);
  });
  if (findings.length > 0) return findings;
  return config.secrets
    .filter((name) => !set.has(name))
    .map((name) => ({ level: 'warning', place: `secrets.${name}`, message: missingSecret(name) }));
}

function missingSecret(name: string): string {
  return `nobody has set it, so a run would be refused. Set it with: assay secret set ${name}`;
}

/** None for a project that was never submitted. */
async function secretsOf(client: Client, project: string): Promise<readonly { name: string }[]> {
  try {
    return (await client.secrets.list(project)).items;
  } catch (error) {
    if (error instanceof ApiError && error.code === 'not-found') return [];
    throw error;
  }
}

async function ask(
  client: Client | null,
  place: string,
  question: (client: Client) => Promise<unknown>,
): Promise<Finding[]> {
  const unchecked: Finding = { level: 'note', place, message: 'not checked, because no server answers.' };
  if (client === null) return [unchecked];
  try {
    await question(client);
    return [];
  } catch (error) {
    if (error instanceof UnreachableError || (error instanceof ApiError && error.status === 401)) return [unchecked];
    if (error instanceof ApiError) return [{ level: 'error', place, message: error.problem.detail }];
    throw error;
  }
}
