// The data of a stage that runs in the checkout.
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Context } from '#cli/context.ts';
import { findServer } from '#cli/settings.ts';
import type { DataSource } from '#core/project.ts';
import type { StageData } from '#core/stage-variables.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { type Client, createClient } from '#sdk/client.ts';
import { fetchDataset, formatOf, save } from './run-material.ts';

/** What lies here already is used; the rest comes from the lake as it is now. */
export async function loadDataHere(
  context: Context,
  sources: readonly DataSource[],
  root: string,
  asOf: string,
): Promise<StageData[]> {
  for (const source of sources) {
    const target = join(root, source.to);
    if ((await stat(target).catch(() => null)) !== null) context.terminal.note(`${source.to} is used as it lies here.`);
    else await loadFromServer(context, source, root, target, asOf);
  }
  return sources.map(({ name, to, kind }) => ({ name, path: join(root, to), isFolder: kind === 'dataset' }));
}

async function loadFromServer(
  context: Context,
  source: DataSource,
  root: string,
  target: string,
  asOf: string,
): Promise<void> {
  const server = await findServer(context.env);
  const client = createClient({ url: server.url, token: server.token ?? '' });
  try {
    await mkdir(dirname(target), { recursive: true });
    await load(client, source, root, target);
    context.terminal.note(`${source.to} comes from ${server.url}, as of ${asOf}.`);
  } catch (error) {
    if (!(error instanceof UnreachableError || error instanceof ApiError)) throw error;
    context.terminal.note(`${source.to} is missing and could not be loaded: ${error.message}`);
  }
}

async function load(client: Client, source: DataSource, root: string, target: string): Promise<void> {
  if (source.kind === 'query') {
    const query = await readFile(join(root, source.query), 'utf8');
    const snapshot = await client.lake.query({ query });
    await save(await client.lake.openSnapshot(snapshot.id, formatOf(source.to)), target);
    return;
  }
  const { latest } = await client.datasets.get(source.dataset);
  if (latest !== null) await fetchDataset(client, source.dataset, latest.version, target);
}
