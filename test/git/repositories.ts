// Real repositories, honest and hostile, for the tests of code handling.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createMirrors, type MirrorLimits, type MirrorOptions, type Mirrors } from '#git/mirror.ts';

export const roomy: MirrorLimits = { sizeBytesMax: 64 * 1024 ** 2, filesMax: 10_000, timeoutMs: 30_000 };

const env = {
  PATH: process.env['PATH'],
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'Ada Lovelace',
  GIT_AUTHOR_EMAIL: 'ada@example.org',
  GIT_COMMITTER_NAME: 'Ada Lovelace',
  GIT_COMMITTER_EMAIL: 'ada@example.org',
  GIT_AUTHOR_DATE: '2024-05-01T10:00:00+0200',
  GIT_COMMITTER_DATE: '2024-05-01T10:00:00+0200',
};

export interface TestRepository {
  dir: string;
  git(args: readonly string[], input?: string | Buffer): string;
  write(path: string, content: string | Buffer): Promise<void>;
  link(path: string, target: string): Promise<void>;
  /** Commits everything and answers the hash. */
  commit(message?: string): string;
  /** Writes an object as it is, valid or not, and answers its hash. */
  object(type: 'blob' | 'tree' | 'commit', content: string | Buffer): string;
  /** A commit of this tree object. */
  commitTree(tree: string, parent?: string): string;
  /** A bundle of these revisions, written by hand so that it may be a bad one. */
  bundle(options: { tips: readonly string[]; without?: readonly string[]; refs?: readonly string[] }): Promise<string>;
}

const temporary: string[] = [];

export async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'assay-test-git-'));
  temporary.push(dir);
  return dir;
}

export async function removeTemporary(): Promise<void> {
  await Promise.all(temporary.splice(0).map((dir) => rm(dir, { recursive: true, force: true })));
}

/** One entry of a tree object as git stores it. */
export function treeEntry(mode: string, name: string, oid: string): Buffer {
  return Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, 'hex')]);
}

export async function createRepository(): Promise<TestRepository> {
  const dir = join(await temporaryDir(), 'repository');
  const git = (args: readonly string[], input?: string | Buffer): Buffer =>
    execFileSync('git', ['-C', dir, ...args], { env, input, maxBuffer: 1024 ** 3, stdio: 'pipe' });
  const text = (args: readonly string[], input?: string | Buffer) => git(args, input).toString('utf8').trim();
  await mkdir(dir, { recursive: true });
  text(['init', '--quiet', '--initial-branch=main']);
  let bundles = 0;
  return {
    dir,
    git: text,
    write: async (path, content) => {
      await mkdir(dirname(join(dir, path)), { recursive: true });
      await writeFile(join(dir, path), content);
    },
    link: async (path, target) => {
      await mkdir(dirname(join(dir, path)), { recursive: true });
      await symlink(target, join(dir, path));
    },
    commit: (message = 'a commit') => {
      text(['add', '--all']);
      text(['commit', '--quiet', '--allow-empty', '-m', message]);
      return text(['rev-parse', 'HEAD']);
    },
    object: (type, content) => text(['hash-object', '-t', type, '-w', '--literally', '--stdin'], content),
    commitTree: (tree, parent) => {
      const lines = [`tree ${tree}`, ...(parent === undefined ? [] : [`parent ${parent}`])];
      const who = 'Ada Lovelace <ada@example.org> 1714550400 +0000';
      return text(
        ['hash-object', '-t', 'commit', '-w', '--literally', '--stdin'],
        `${lines.join('\n')}\nauthor ${who}\ncommitter ${who}\n\nmade\n`,
      );
    },
    bundle: async ({ tips, without = [], refs = ['refs/heads/main'] }) => {
      const revisions = [...tips, ...without.map((sha) => `^${sha}`)].join('\n');
      const pack = git(['pack-objects', '--revs', '--thin', '--stdout', '-q'], `${revisions}\n`);
      const lines = [
        ...without.map((sha) => `-${sha}`),
        ...tips.map((sha, n) => `${sha} ${refs[n] ?? `refs/heads/b${n}`}`),
      ];
      bundles += 1;
      const file = join(dir, '..', `${bundles}.bundle`);
      await writeFile(file, Buffer.concat([Buffer.from(`# v2 git bundle\n${lines.join('\n')}\n\n`), pack]));
      return file;
    },
  };
}

export interface TestMirrors extends Mirrors {
  rootDir: string;
  /** Every reference of a project's mirror with its hash. */
  refs(projectId: string): string[];
  quarantined(): Promise<string[]>;
}

export async function openMirrors(options: Partial<MirrorOptions> = {}): Promise<TestMirrors> {
  const rootDir = options.rootDir ?? (await temporaryDir());
  const mirrors = createMirrors({ rootDir, limits: roomy, allowPrivateRemotes: false, ...options });
  const list = (projectId: string) =>
    execFileSync(
      'git',
      ['--git-dir', join(rootDir, `${projectId}.git`), 'for-each-ref', '--format=%(refname) %(objectname)'],
      {
        env,
        encoding: 'utf8',
      },
    );
  return {
    ...mirrors,
    rootDir,
    refs: (projectId) => list(projectId).split('\n').filter(Boolean),
    quarantined: async () => (existsSync(join(rootDir, 'quarantine')) ? readdir(join(rootDir, 'quarantine')) : []),
  };
}

/** Files of a small project. */
export async function writeProject(repository: TestRepository): Promise<void> {
  await repository.write('train.py', 'print("training")\n');
  await repository.write('lib/model.py', 'depth = 3\n');
  await repository.write('data/ünïcode name.csv', 'a,b\r\n1,2\r\n');
}
