// A project of a benchmark: a checkout whose commits the server gets.
import { execFile } from 'node:child_process';
import { openAsBlob } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Client } from '#sdk/client.ts';

const run = promisify(execFile);

export interface BenchRepository {
  /** Where files are written before they are committed; those that lie there already are part of the first commit. */
  checkout: string;
  /** Commits everything and sends it; answers the commit. */
  commit: () => Promise<string>;
}

export async function createRepository(client: Client, project: string, dir: string): Promise<BenchRepository> {
  const checkout = join(dir, 'checkout');
  await mkdir(checkout, { recursive: true });
  const git = async (...args: string[]) => {
    const identity = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
    return (await run('git', ['-C', checkout, ...identity, ...args])).stdout.trim();
  };
  await git('init', '--quiet', '--initial-branch=main');
  await client.projects.create({ name: project, defaultBranch: 'main' });
  return {
    checkout,
    async commit() {
      await git('add', '.');
      await git('commit', '--quiet', '--message=bench');
      const commit = await git('rev-parse', 'HEAD');
      const bundle = join(dir, `${commit}.bundle`);
      await git('bundle', 'create', '--quiet', bundle, 'HEAD');
      await client.code.sendBundle(project, commit, await openAsBlob(bundle));
      return commit;
    },
  };
}
