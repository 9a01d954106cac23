// A colleague's machine: an empty home, no checkout of Assay, and a server that hands out its own command line.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '#embedded/ports.ts';
import { type AssayProcess, assayProcess } from '#test/support/assay-process.ts';
import { commitAll, git } from './server.ts';

const repository = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
/** Each test starts the command line several times, and npm once more. */
const timeout = 180_000;

let dir: string;
let server: AssayProcess;
let env: NodeJS.ProcessEnv;
/** Empty before npm installs into it. */
let prefix: string;
let assay: string;
let modules: string;
let project: string;

const train = `
import json, os
rate = json.load(open("input.json"))["rate"]
os.makedirs("model", exist_ok=True)
json.dump({"weights": [rate, 2 * rate]}, open("model/weights.json", "w"))
json.dump({"loss": 1 - rate}, open("metrics.json", "w"))
print("trained with", rate)
`;
const projectFile = `project: pets
stages:
  train: { command: python train.py }
params: { file: input.json, style: json }
metrics: { files: [metrics.json] }
model: { name: pets, path: model/ }
gate: ["loss <= 0.8"]
`;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'assay-colleague-'));
  await chmod(dir, 0o711);
  env = await colleagueEnvironment();
  const home = join(dir, 'server');
  await mkdir(home, { mode: 0o711 });
  server = assayProcess(home, await freePort());
  await server.start();
  prefix = join(dir, 'installed');
  await install();
  project = await makeProject();
}, 300_000);
afterAll(async () => {
  await server.end('SIGTERM');
  await run('chmod', ['-R', 'u+w', dir]);
  await rm(dir, { recursive: true, force: true });
}, 60_000);

/** Programs of this machine without those of the repository, and npm's cache and registry without the rest of its user's settings. */
async function colleagueEnvironment(): Promise<NodeJS.ProcessEnv> {
  const bin = join(dir, 'bin');
  await mkdir(bin);
  await symlink(process.execPath, join(bin, 'node'));
  const inherited = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.startsWith(repository));
  const home = join(dir, 'home');
  await mkdir(home);
  const npm = async (key: string) => (await run('npm', ['config', 'get', key], { cwd: dir })).stdout.trim();
  return {
    PATH: [bin, ...inherited].join(delimiter),
    HOME: home,
    LANG: 'C.UTF-8',
    npm_config_cache: await npm('cache'),
    npm_config_registry: await npm('registry'),
    npm_config_update_notifier: 'false',
    ...given(
      'NODE_EXTRA_CA_CERTS',
      'SSL_CERT_FILE',
      'PIP_INDEX_URL',
      'PIP_CERT',
      'HTTPS_PROXY',
      'https_proxy',
      'no_proxy',
    ),
  };
}

function given(...names: string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

async function install(): Promise<void> {
  await run('npm', ['install', '--global', '--no-audit', '--prefix', prefix, `${server.url}/assay.tgz`], {
    cwd: dir,
    env,
  });
  assay = join(prefix, 'bin', 'assay');
  modules = join(prefix, 'lib', 'node_modules', 'assay', 'node_modules');
}

async function makeProject(): Promise<string> {
  const root = join(dir, 'pets');
  await mkdir(root);
  await git(root, 'init', '--quiet', '--initial-branch=main');
  await writeFile(join(root, 'train.py'), train);
  await writeFile(join(root, 'input.json'), '{"rate": 0.25}\n');
  await writeFile(join(root, 'assay.yaml'), projectFile);
  await writeFile(join(root, '.gitignore'), '.venv\n');
  await commitAll(root, 'Train on pets');
  return root;
}

interface Result {
  code: number | null;
  out: string;
  err: string;
}

async function call(words: string[], options: { input?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const child = spawn(assay, words, { cwd: options.cwd ?? project, env: { ...env, ...options.env } });
  child.stdin.end(options.input ?? '');
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, out, err } satisfies Result;
}

describe('the package that a server hands out', { timeout }, () => {
  it('says its version and what can be done with it', async () => {
    expect(await call(['--version'])).toEqual({ code: 0, out: expect.stringMatching(/^\d\S+\+\w{12}\n$/), err: '' });
    const { out } = await call(['--help']);
    expect(out).toContain('assay [options] [command]');
  });

  it('brings nothing but its own files and the packages they need', async () => {
    const names = (await readdir(modules)).filter((name) => !name.startsWith('.'));
    expect(new Set(names)).toEqual(new Set(['commander', 'picomatch', 'smol-toml', 'yaml', 'zod']));
    const lock = JSON.parse(await readFile(join(repository, 'package-lock.json'), 'utf8')) as Lock;
    for (const name of names) {
      const { version } = JSON.parse(await readFile(join(modules, name, 'package.json'), 'utf8')) as {
        version: string;
      };
      expect([name, version]).toEqual([name, lock.packages[`node_modules/${name}`]?.version]);
    }
  });

  it('says which Node it needs when it is given an older one', async () => {
    const older = join(dir, 'older.mjs');
    await writeFile(older, "Object.defineProperty(process, 'versions', { value: { node: '20.9.0' } });\n");
    const { code, err } = await call(['--version'], { env: { NODE_OPTIONS: `--import=${older}` } });
    expect(code).toBe(1);
    expect(err).toMatch(/^assay needs Node 22\.13 or newer; this is 20\.9\.0 \(.*\)\. .*\n$/);
  });

  it('is the client alone, and says so where a server is missing', async () => {
    const { code, err } = await call(['ls'], { env: { ASSAY_URL: 'http://127.0.0.1:1' } });
    expect(code).toBe(4);
    expect(err).toContain('without a server; run "assay login URL"');
    const doctor = await call(['doctor', '--json'], { env: { ASSAY_URL: 'http://127.0.0.1:1' } });
    expect(doctor.out).not.toMatch(/npm start|temporal|docker/);
  });
});

interface Lock {
  packages: Record<string, { version: string } | undefined>;
}

describe('a colleague', { timeout }, () => {
  it('logs in with a token from a pipe, which only they can read afterwards', async () => {
    const token = await readFile(join(server.home, 'token'), 'utf8');
    const { code, out } = await call(['login', server.url, '--token-stdin'], { input: token });
    expect(code).toBe(0);
    expect(out).toContain(`Logged in to ${server.url} as `);
    const hosts = join(dir, 'home', '.config', 'assay', 'hosts.json');
    expect((await stat(hosts)).mode & 0o777).toBe(0o600);
    expect((await call(['whoami'])).out).toContain(`server\t${server.url}\n`);
    const checks = (await call(['doctor'])).out;
    expect(checks).toMatch(/^version\tok\t/m);
  });

  it('checks a project, runs it to the end and downloads its model', async () => {
    expect(await call(['lint'])).toMatchObject({ code: 0 });
    const { code, out, err } = await call(['run', '--wait']);
    expect([code, err]).toEqual([0, expect.stringContaining('pets/1')]);
    expect(out).toContain('succeeded');
    expect((await call(['logs', '-f', 'pets/1', 'train'])).out).toContain('trained with 0.25');
    const fetched = await call(['download', 'pets/1', 'model', '-o', join(dir, 'model')]);
    expect(fetched.code).toBe(0);
    const [path = ''] = (await readdir(join(dir, 'model'), { recursive: true })).filter((name) =>
      name.endsWith('.json'),
    );
    expect(await readFile(join(dir, 'model', path), 'utf8')).toBe('{"weights": [0.25, 0.5]}');
  });

  it('makes the environment of the run, and opens its stage', async () => {
    expect((await call(['env', 'pets/1'])).out).toBe(`${join(project, '.venv')}\n`);
    await access(join(project, '.venv', 'bin', 'python'));
    const { code, out } = await call([
      'exec',
      'pets/1',
      'train',
      '--',
      'python',
      '-c',
      'print(open("input.json").read())',
    ]);
    expect([code, out]).toEqual([0, expect.stringContaining('"rate": 0.25')]);
    expect((await call(['exec', 'train'])).out).toContain('trained with 0.25');
  });

  it('gives data to the server', async () => {
    await mkdir(join(dir, 'photos'));
    await writeFile(join(dir, 'photos', 'cat.txt'), 'miau');
    expect(await call(['data', 'add', 'photos', join(dir, 'photos')])).toMatchObject({ code: 0 });
  });

  it('describes a project that has no file yet', async () => {
    const plain = join(dir, 'plain');
    await mkdir(plain);
    await git(plain, 'init', '--quiet', '--initial-branch=main');
    await writeFile(join(plain, 'train.py'), 'print(1)\n');
    await writeFile(join(plain, 'requirements.txt'), '');
    await commitAll(plain, 'Print');
    expect(await call(['init'], { cwd: plain })).toMatchObject({ code: 0 });
  });

  it('is told once a day when the server has another version, and not at all in JSON', async () => {
    const manifest = join(modules, '..', 'package.json');
    const before = await readFile(manifest, 'utf8');
    await writeFile(manifest, before.replace(/\+\w{12}/, '+000000000000'));
    expect((await call(['ls', '--json'])).err).toBe('');
    const { err } = await call(['ls']);
    expect(err).toContain(`this is 0.1.0+000000000000; run npm install -g ${server.url}/assay.tgz`);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect((await call(['ls'])).err).toBe('');
    expect((await call(['doctor'])).out).toMatch(/^version\toptional\t.*npm install -g/m);
    await install();
    expect(await readFile(manifest, 'utf8')).toBe(before);
  });

  it('logs out, and is nobody then', async () => {
    expect(await call(['logout'])).toMatchObject({ code: 0 });
    expect(await call(['whoami'])).toMatchObject({ code: 4 });
  });
});
