import { openAsBlob } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createBundle, recentCommits } from '#cli/checkout.ts';
import type { Client } from '#sdk/client.ts';

/** How many commits of the history the server is asked about, to send only what it lacks. */
const historyMax = 200;

/** Sees to it that the server has the commit. `objectDir` holds one that is not in the checkout's own objects. */
export async function sendCommit(
  client: Client,
  project: string,
  root: string,
  commit: string,
  objectDir?: string,
): Promise<void> {
  const asked = [...new Set([commit, ...(await recentCommits(root, historyMax))])];
  const { have } = await client.code.negotiate(project, asked);
  if (have.includes(commit)) return;
  const bundle = await createBundle(root, commit, have, objectDir);
  try {
    await client.code.sendBundle(project, commit, await openAsBlob(bundle));
  } finally {
    await rm(dirname(bundle), { recursive: true, force: true });
  }
}
