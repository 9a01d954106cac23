import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type GitServer, hasOpenssl, startGitServer } from './https-server.ts';
import {
  createRepository,
  openMirrors,
  removeTemporary,
  type TestMirrors,
  type TestRepository,
} from './repositories.ts';

const project = 'p1';
let repository: TestRepository;
let mirrors: TestMirrors;

beforeAll(async () => {
  repository = await createRepository();
  mirrors = await openMirrors();
});
afterAll(removeTemporary);

async function bring(commit: string): Promise<string> {
  const file = await repository.bundle({ tips: [commit] });
  await mirrors.ingestBundle(project, file, commit);
  return commit;
}

const read = (commit: string, path = 'assay.yaml', max = 1000) => mirrors.readCommitFile(project, commit, path, max);

test('a commit that is not here is null, and so is a tree or a file by its hash', async () => {
  await repository.write('a.txt', 'a');
  const commit = await bring(repository.commit('first'));
  expect(await read('e'.repeat(40))).toBeNull();
  expect(await read(repository.git(['rev-parse', `${commit}^{tree}`]))).toBeNull();
  expect(await read(repository.git(['rev-parse', `${commit}:a.txt`]))).toBeNull();
});

test('the whole message is read, and the file if there is one, links followed', async () => {
  await repository.write('conf/real.yaml', 'triggers: {}\n');
  await repository.link('assay.yaml', 'conf/real.yaml');
  await repository.link('broken', 'nowhere');
  await repository.link('out', '../../etc/passwd');
  const commit = await bring(repository.commit('Title\n\nBody\n\n[skip ml]\n'));
  expect(await read(commit)).toEqual({ message: 'Title\n\nBody\n\n[skip ml]\n', file: 'triggers: {}\n' });
  for (const path of ['missing', 'broken', 'out', 'conf', 'conf/real.yaml/x']) {
    expect(await read(commit, path)).toMatchObject({ file: null });
  }
});

test('a file that is too large is refused', async () => {
  await repository.write('big.yaml', 'x'.repeat(2000));
  const commit = await bring(repository.commit('big'));
  await expect(read(commit, 'big.yaml')).rejects.toMatchObject({ code: 'source-too-large' });
});

test('what changed is known when the one builds on the other, and null when not', async () => {
  await repository.write('x/1', '1');
  const base = await bring(repository.commit('base'));
  await repository.write('x/2', '2');
  const side = await bring(repository.commit('side'));
  repository.git(['reset', '-q', '--hard', base]);
  await repository.write('ünï code', '3');
  await repository.write('x/1', '4');
  const next = await bring(repository.commit('next'));
  expect(await mirrors.changedPaths(project, base, next)).toEqual(['x/1', 'ünï code']);
  expect(await mirrors.changedPaths(project, next, next)).toEqual([]);
  expect(await mirrors.changedPaths(project, side, next)).toBeNull();
  expect(await mirrors.changedPaths(project, next, base)).toBeNull();
  expect(await mirrors.changedPaths(project, 'e'.repeat(40), next)).toBeNull();
  await expect(mirrors.changedPaths(project, '--output=x', next)).rejects.toMatchObject({ code: 'invalid-reference' });
});

describe.skipIf(!hasOpenssl())('the heads of a remote', () => {
  let server: GitServer;
  beforeAll(async () => {
    server = await startGitServer(dirname(repository.dir));
  });
  afterAll(() => server?.close());

  test('are branches with their commits, without tags, and nothing is fetched', async () => {
    const open = await openMirrors({ allowPrivateRemotes: true, certificateFile: server.certificateFile });
    repository.git(['branch', '-f', 'topic/ü']);
    repository.git(['tag', '-f', 'v1']);
    const head = repository.git(['rev-parse', 'HEAD']);
    const heads = await open.remoteHeads(project, `${server.origin}/repository/.git`);
    expect(heads).toEqual(
      new Map([
        ['main', head],
        ['topic/ü', head],
      ]),
    );
    expect(await open.hasCommits(project, [head])).toEqual([]);
    expect(await open.quarantined()).toEqual([]);
  });

  test('of a remote inside are not asked for', async () => {
    await expect(mirrors.remoteHeads(project, `${server.origin}/repository/.git`)).rejects.toMatchObject({
      code: 'invalid-remote',
    });
  });
});
