// The real API on a real database, on a loopback port, and a home of its own for the CLI that talks to it.
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createTestApi, type TestApi } from '#test/api/server.ts';
import { type CallOptions, type CallResult, callCli } from './call.ts';

const run = promisify(execFile);
const examples = fileURLToPath(new URL('../../examples', import.meta.url));

export interface CliServer {
  api: TestApi;
  url: string;
  /** Holds the CLI's own files and the checkouts. */
  home: string;
  env: Record<string, string>;
  /** The CLI as the role ml. */
  assay: (words: readonly string[], options?: CallOptions) => Promise<CallResult>;
  /** A git checkout of an example with one commit. */
  checkout: (example: string, name?: string) => Promise<string>;
  close: () => Promise<void>;
}

export async function startCliServer(overrides: Parameters<typeof createTestApi>[0] = {}): Promise<CliServer> {
  const api = await createTestApi(overrides);
  const url = await api.app.listen({ host: '127.0.0.1', port: 0 });
  const home = await mkdtemp(join(tmpdir(), 'assay-cli-'));
  const env = { HOME: home, ASSAY_URL: url, ASSAY_TOKEN: api.tokens.ml };
  return {
    api,
    url,
    home,
    env,
    assay: (words, options = {}) => callCli(words, { cwd: home, ...options, env: { ...env, ...options.env } }),
    checkout: (example, name = example) => makeCheckout(example, join(home, name)),
    close: async () => {
      await api.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function makeCheckout(example: string, dir: string): Promise<string> {
  await cp(join(examples, example), dir, { recursive: true });
  await git(dir, 'init', '--quiet', '--initial-branch=main');
  await commitAll(dir, `Add ${example}`);
  return dir;
}

export async function commitAll(dir: string, message: string): Promise<string> {
  await git(dir, 'add', '--all');
  await git(dir, '-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', 'commit', '--quiet', '-m', message);
  return git(dir, 'rev-parse', 'HEAD');
}

export async function git(dir: string, ...args: string[]): Promise<string> {
  return (await run('git', args, { cwd: dir })).stdout.trim();
}
