import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, expect, test } from 'vitest';
import { runGit } from '#git/command.ts';
import { gitEnvironment } from '#git/hardening.ts';
import { createRepository, removeTemporary, temporaryDir } from './repositories.ts';

afterAll(removeTemporary);

test.each(['ext::sh -c touch% SENTINEL', '/etc', 'file:///etc', 'git://127.0.0.1/x', 'http://127.0.0.1/x', 'fd::0'])(
  'git itself refuses the transport of %s even if our own check were passed',
  async (url) => {
    const sentinel = join(await temporaryDir(), 'sentinel');
    const args = ['ls-remote', '--end-of-options', url.replace('SENTINEL', sentinel)];
    await expect(runGit(args, { transport: 'remote' })).rejects.toMatchObject({ name: 'GitError', failure: 'exit' });
    expect(existsSync(sentinel)).toBe(false);
  },
);

test('git reads no configuration of the account, the machine or the process', async () => {
  const before = { ...process.env };
  process.env['GIT_CONFIG_COUNT'] = '1';
  process.env['GIT_CONFIG_KEY_0'] = 'alias.pwn';
  process.env['GIT_CONFIG_VALUE_0'] = '!touch /tmp/never';
  process.env['GIT_DIR'] = '/nowhere';
  process.env['GIT_SSH_COMMAND'] = 'false';
  try {
    const listed = (await runGit(['config', '--list', '--show-scope'])).toString('utf8');
    expect(
      new Set(
        listed
          .trim()
          .split('\n')
          .map((line) => line.split('\t')[0]),
      ),
    ).toEqual(new Set(['command']));
    expect(listed).not.toContain('alias.pwn');
    expect(gitEnvironment('remote')).not.toHaveProperty('GIT_SSH_COMMAND');
  } finally {
    process.env = before;
  }
});

test('redirects, hooks, file monitors and bundle addresses are off', () => {
  const variables = gitEnvironment('none');
  const config = new Map<string | undefined, string | undefined>();
  for (let n = 0; n < Number(variables['GIT_CONFIG_COUNT']); n += 1) {
    config.set(variables[`GIT_CONFIG_KEY_${n}`], variables[`GIT_CONFIG_VALUE_${n}`]);
  }
  expect(Object.fromEntries(config)).toMatchObject({
    'http.followRedirects': 'false',
    'core.hooksPath': '/dev/null',
    'core.fsmonitor': 'false',
    'transfer.bundleURI': 'false',
    'transfer.fsckObjects': 'true',
    'safe.bareRepository': 'explicit',
  });
  expect(variables).toMatchObject({ GIT_ALLOW_PROTOCOL: 'none', GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '' });
});

test('a command ends at its time cap together with its children', async () => {
  const endless = new Readable({ read: () => undefined });
  const running = runGit(['hash-object', '--stdin'], { stdin: endless, timeoutMs: 200 });
  await expect(running).rejects.toMatchObject({ failure: 'timeout' });
});

test('a command ends when its caller gives up, with the caller’s reason', async () => {
  const reason = new Error('run cancelled');
  const controller = new AbortController();
  const endless = new Readable({ read: () => undefined });
  const running = runGit(['hash-object', '--stdin'], { stdin: endless, signal: controller.signal });
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
});

test('output above the cap is an error and not a longer wait', async () => {
  const repository = await createRepository();
  const oid = repository.object('blob', 'x'.repeat(100_000));
  const git = { gitDir: join(repository.dir, '.git'), outputBytesMax: 1_000 };
  await expect(runGit(['cat-file', 'blob', oid], git)).rejects.toMatchObject({ failure: 'output-limit' });
});

test('a repository inside a folder is not used unless it is named', async () => {
  const repository = await createRepository();
  const cwd = process.cwd();
  process.chdir(repository.dir);
  try {
    await expect(runGit(['rev-parse', '--git-dir'])).rejects.toMatchObject({ failure: 'exit' });
  } finally {
    process.chdir(cwd);
  }
});
