import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RemoteCredentials } from '#git/transport.ts';
import { type GitServer, hasOpenssl, startGitServer } from './https-server.ts';
import {
  createRepository,
  openMirrors,
  removeTemporary,
  roomy,
  temporaryDir,
  type TestRepository,
  writeProject,
} from './repositories.ts';

const project = 'p1';

afterAll(removeTemporary);

// Without openssl there is no certificate, and the product speaks https only.
describe.skipIf(!hasOpenssl())('a fetch over https', () => {
  let repository: TestRepository;
  let server: GitServer;
  let url: string;

  beforeAll(async () => {
    repository = await createRepository();
    await writeProject(repository);
    repository.commit('first');
    server = await startGitServer(dirname(repository.dir));
    url = `${server.origin}/repository/.git`;
  });

  afterAll(() => server?.close());

  afterEach(() => {
    server.answer = null;
    server.requests.length = 0;
  });

  const open = (options = {}) =>
    openMirrors({ allowPrivateRemotes: true, certificateFile: server.certificateFile, ...options });

  test('brings branches, tags and the default branch', async () => {
    const head = repository.git(['rev-parse', 'HEAD']);
    repository.git(['tag', '-f', '-a', 'v1', '-m', 'one']);
    const mirrors = await open();
    const result = await mirrors.fetchRemote(project, url);
    expect(result.defaultBranch).toBe('main');
    expect(result.changed.map((change) => change.ref)).toEqual(['refs/heads/main', 'refs/tags/v1']);
    expect(await mirrors.resolve(project, 'HEAD')).toMatchObject({ commit: head, branch: 'main' });
    expect(await mirrors.resolve(project, 'v1')).toMatchObject({ commit: head, branch: null });
    expect(await mirrors.quarantined()).toEqual([]);
  });

  test('asks once and transfers nothing when nothing changed', async () => {
    const mirrors = await open();
    await mirrors.fetchRemote(project, url);
    server.requests.length = 0;
    expect(await mirrors.fetchRemote(project, url)).toEqual({ defaultBranch: 'main', changed: [] });
    expect(server.requests.length).toBeLessThanOrEqual(2);
  });

  test('follows moved, rewritten and deleted branches and keeps commits a run resolved', async () => {
    const mirrors = await open();
    repository.git(['branch', '-f', 'topic', 'HEAD']);
    await repository.write('train.py', 'two\n');
    const second = repository.commit('second');
    await mirrors.fetchRemote(project, url);
    repository.git(['reset', '-q', '--hard', 'HEAD~1']);
    repository.git(['branch', '-D', 'topic']);
    repository.git(['branch', 'topic/deeper', 'HEAD']);
    const first = repository.git(['rev-parse', 'HEAD']);
    const { changed } = await mirrors.fetchRemote(project, url);
    expect(changed).toContainEqual({ ref: 'refs/heads/main', before: second, after: first });
    expect(changed).toContainEqual({ ref: 'refs/heads/topic', before: first, after: null });
    expect(await mirrors.resolve(project, second)).toMatchObject({ commit: second });
    expect(await mirrors.resolve(project, 'topic/deeper')).toMatchObject({ branch: 'topic/deeper' });
  });

  test('lets readers resolve while it runs and answers callers who came later with later state', async () => {
    const mirrors = await open();
    const first = repository.git(['rev-parse', 'main']);
    await mirrors.fetchRemote(project, url);
    await repository.write('race.txt', 'x');
    const running = mirrors.fetchRemote(project, url);
    const reads = Array.from({ length: 20 }, () => mirrors.resolve(project, 'main'));
    const next = repository.commit('while fetching');
    const later = Array.from({ length: 10 }, () => mirrors.fetchRemote(project, url));
    for (const read of await Promise.all(reads)) expect([first, next]).toContain(read.commit);
    await running;
    await Promise.all(later);
    expect((await mirrors.resolve(project, 'main')).commit).toBe(next);
  });

  test('is refused on this address unless private remotes are allowed', async () => {
    const mirrors = await open({ allowPrivateRemotes: false });
    await expect(mirrors.fetchRemote(project, url)).rejects.toMatchObject({ code: 'invalid-remote' });
    const named = url.replace('127.0.0.1', 'localhost');
    await expect(mirrors.fetchRemote(project, named)).rejects.toMatchObject({ code: 'invalid-remote' });
    expect(server.requests).toEqual([]);
  });

  test('does not trust a certificate nobody vouched for', async () => {
    const mirrors = await openMirrors({ allowPrivateRemotes: true });
    await expect(mirrors.fetchRemote(project, url)).rejects.toMatchObject({
      code: 'invalid-remote',
      message: expect.stringContaining('certificate'),
    });
  });

  function requireLogin(username: string, password: string) {
    const expected = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    server.answer = (request, response) => {
      if (request.headers.authorization === expected) return false;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return true;
    };
  }

  test('uses the stored login, and says so when there is none', async () => {
    requireLogin('robot', 'p@ss:w/ord %');
    const nobody = await open();
    await expect(nobody.fetchRemote(project, url)).rejects.toMatchObject({ code: 'invalid-remote' });
    const credentials = async (): Promise<RemoteCredentials> => ({
      kind: 'https',
      username: 'robot',
      password: 'p@ss:w/ord %',
    });
    const somebody = await open({ credentials });
    expect((await somebody.fetchRemote(project, url)).defaultBranch).toBe('main');
  });

  test('shows a wrong password to nobody', async () => {
    requireLogin('robot', 'right');
    const credentials = async (): Promise<RemoteCredentials> => ({
      kind: 'https',
      username: 'robot',
      password: 'canary-4711',
    });
    const mirrors = await open({ credentials });
    const error = await mirrors.fetchRemote(project, url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'invalid-remote' });
    expect(JSON.stringify(error) + String(error) + String((error as Error).stack)).not.toContain('canary-4711');
    expect(await mirrors.quarantined()).toEqual([]);
  });

  test('names a missing repository', async () => {
    const mirrors = await open();
    await expect(mirrors.fetchRemote(project, `${server.origin}/nothing`)).rejects.toMatchObject({
      code: 'invalid-remote',
      message: expect.stringContaining('no such repository'),
    });
  });

  test('leaves a broken server as trouble that may pass', async () => {
    const mirrors = await open();
    server.answer = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    await expect(mirrors.fetchRemote(project, url)).rejects.toMatchObject({ name: 'GitError', failure: 'exit' });
  });

  test('ends at its time cap when a server never answers, and stops waiting when the caller does', async () => {
    server.answer = () => true;
    const impatient = await open({ limits: { ...roomy, timeoutMs: 700 } });
    await expect(impatient.fetchRemote(project, url)).rejects.toMatchObject({ failure: 'timeout' });
    const mirrors = await open({ limits: { ...roomy, timeoutMs: 1_500 } });
    const reason = new Error('cancelled');
    await expect(mirrors.fetchRemote(project, url, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test('ends at its size cap and leaves nothing', async () => {
    const mirrors = await open({ limits: { ...roomy, sizeBytesMax: 200 } });
    await expect(mirrors.fetchRemote(project, url)).rejects.toMatchObject({ code: 'source-too-large' });
    expect(mirrors.refs(project)).toEqual([]);
    expect(await mirrors.quarantined()).toEqual([]);
  });

  test('refuses objects that break git’s rules', async () => {
    const evil = await createRepository();
    await evil.write('.gitmodules', '[submodule "x"]\n\tpath = x\n\turl = -u./payload\n');
    evil.commit();
    const other = await startGitServer(dirname(evil.dir));
    try {
      const mirrors = await open({ certificateFile: other.certificateFile });
      await expect(mirrors.fetchRemote(project, `${other.origin}/repository/.git`)).rejects.toMatchObject({
        code: 'source-refused',
      });
      expect(mirrors.refs(project)).toEqual([]);
    } finally {
      await other.close();
    }
  });
});

test('a fetch over ssh runs with a configuration of its own and reads no key of the account', async () => {
  const repository = await createRepository();
  await writeProject(repository);
  const head = repository.commit('first');
  // The real transport of git with another program behind it, which notes how it was called.
  const bin = join(await temporaryDir(), 'bin');
  const notes = join(bin, 'notes');
  await mkdir(bin);
  const script = `#!/bin/sh\necho "$@" >> '${notes}'\ncat "$2" >> '${notes}'\ncat '${bin}/key' /dev/null > /dev/null 2>&1\nexec git-upload-pack '${repository.dir}'\n`;
  await writeFile(join(bin, 'ssh'), script);
  await chmod(join(bin, 'ssh'), 0o755);
  const path = process.env['PATH'];
  process.env['PATH'] = `${bin}:${path}`;
  try {
    const credentials = async (): Promise<RemoteCredentials> => ({
      kind: 'ssh',
      privateKey: 'canary-key',
      knownHosts: 'h k',
    });
    const mirrors = await openMirrors({ allowPrivateRemotes: true, credentials });
    const result = await mirrors.fetchRemote(project, 'git@git.example.org:team/repository.git');
    expect(result.defaultBranch).toBe('main');
    expect((await mirrors.resolve(project, 'main')).commit).toBe(head);
  } finally {
    process.env['PATH'] = path;
  }
  const seen = await readFile(notes, 'utf8');
  expect(seen).toContain("git@git.example.org git-upload-pack 'team/repository.git'");
  for (const line of ['HostName git.example.org', 'BatchMode yes', 'IdentityAgent none', 'StrictHostKeyChecking yes']) {
    expect(seen).toContain(line);
  }
  expect(seen).not.toContain('canary-key');
});
