import { afterAll, beforeAll, expect, test } from 'vitest';
import { deliver, pushOf, sha } from '#test/api/deliveries.ts';
import { type CliServer, startCliServer } from './server.ts';

let server: CliServer;
beforeAll(async () => {
  server = await startCliServer();
});
afterAll(() => server.close());

test('a webhook is made, shown with what it delivered, rotated and removed', async () => {
  const { name } = await server.api.project('digits');
  const made = await server.assay(['hooks', 'create', name]);
  expect(made.code).toBe(0);
  const secret = /^Secret: (whsec_\S+)$/m.exec(made.out)?.[1] ?? '';
  for (const host of ['GitHub', 'GitLab', 'Gitea, Forgejo']) expect(made.out).toContain(host);
  expect(made.out).toContain('/api/v1/hooks/github/digits');
  expect(made.notes).toContain('not shown again');
  expect((await server.assay(['hooks', 'show', name])).notes).toContain('Nothing was delivered yet');

  await deliver(server.api, 'github', name, secret, pushOf(sha(1)));
  await deliver(server.api, 'github', name, secret, pushOf(sha(2), 'refs/tags/v1'));
  const shown = await server.assay(['hooks', 'show', name]);
  expect(shown.out).not.toContain(secret);
  expect(shown.out).toMatch(/github\s+refs\/heads\/main\s+aaaaaaaa\s+waits for its commit/);
  expect(shown.out).toMatch(/refs\/tags\/v1\s+aaaaaaaa\s+Only branches start runs/);
  const json = JSON.parse((await server.assay(['hooks', 'show', name, '--json'])).out) as { deliveries: unknown[] };
  expect(json.deliveries).toHaveLength(2);

  const rotated = await server.assay(['hooks', 'rotate', name, '--json']);
  expect((JSON.parse(rotated.out) as { secret: string }).secret).not.toBe(secret);
  expect((await server.assay(['hooks', 'rm', name])).notes).toContain('removed');
  const gone = await server.assay(['hooks', 'show', name]);
  expect([gone.code, gone.notes]).toEqual([1, expect.stringContaining('assay hooks create digits')]);
});

test('how a project is watched is set by name', async () => {
  const { name } = await server.api.project('watched');
  const set = await server.assay(['projects', 'set', name, '--poll', '15m', '--host-kind', 'gitea', '--json']);
  expect(JSON.parse(set.out)).toMatchObject({ pollSeconds: 900, hostKind: 'gitea' });
  const back = await server.assay(['projects', 'set', name, '--poll', 'default', '--json']);
  expect(JSON.parse(back.out)).toMatchObject({ pollSeconds: null, hostKind: 'gitea' });
  expect((await server.assay(['projects', 'set', name, '--poll', '5s'])).notes).toContain('a time from 1m to 1d');
  expect((await server.assay(['projects', 'set', name, '--host-kind', 'svn'])).code).toBe(1);
});
