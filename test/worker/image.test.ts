// The image that every process of a team's set-up runs from, built on a base that is made here, since none can be pulled
// everywhere: Debian with Python, and the Node and npm that run this test.
import { execFile, execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '#embedded/ports.ts';
import { callCli } from '#test/cli/call.ts';
import { commitAll, git } from '#test/cli/server.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { until } from '#test/support/stack.ts';
import { testTemporal } from '#test/support/temporal.ts';

const run = promisify(execFile);
const repository = resolve(import.meta.dirname, '../..');
const debian = 'assay-test-python:3.11';
const base = 'assay-test-node:24';
const image = 'assay-test:image';
/** npm fetches every package and apt some; both are kept by the engine from the second time on. */
const buildTimeoutMs = 900_000;

/** Who signs for the registries, where that is not somebody whom everybody knows. */
const authority = process.env.NODE_EXTRA_CA_CERTS || undefined;

const missing = whatIsMissing();

function whatIsMissing(): string | null {
  try {
    execFileSync('docker', ['version'], { stdio: 'ignore' });
  } catch {
    return 'no Docker engine';
  }
  try {
    execFileSync('docker', ['image', 'inspect', debian], { stdio: 'ignore' });
  } catch {
    return `no image ${debian}`;
  }
  return null;
}

async function docker(...args: string[]): Promise<string> {
  return (await run('docker', args, { maxBuffer: 64 * 1024 ** 2 })).stdout.trim();
}

async function shell(script: string): Promise<string> {
  return docker('run', '--rm', '--network', 'none', '--entrypoint', 'sh', image, '-c', script);
}

describe.skipIf(missing !== null)(`the image${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'assay-image-'));
    await buildBase(join(dir, 'base'));
    await buildImage(join(dir, 'context'));
  }, buildTimeoutMs);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  it('says what its programs need when nothing is set', async () => {
    for (const command of [['worker/migrate.ts'], ['api/main.ts'], ['worker/main.ts', '--role', 'control']]) {
      const refused = await docker('run', '--rm', '--network', 'none', image, 'node', ...command).catch(
        (error: { code: number; stderr: string }) => error,
      );
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^The configuration cannot be used:\n {2}- ASSAY_DATABASE_URL is not set/),
      });
    }
  });

  it('runs as a user of its own, who can write the home and nothing of the program', async () => {
    expect(await shell('id -u; id -g; id -un; echo $HOME')).toBe('10001\n10001\nassay\n/var/lib/assay');
    expect(await shell('touch $ASSAY_HOME/x && (touch /app/x || touch /app/api/x) 2>/dev/null || echo refused')).toBe(
      'refused',
    );
  });

  it('has the programs that stages and mirrors need, and no tool of development', async () => {
    await shell('git --version && ssh -V && python3 -c "import venv, ensurepip" && tini --version');
    const found = await shell(
      'cd /app && ls -d node_modules/typescript node_modules/vitest node_modules/node test embedded 2>/dev/null; true',
    );
    expect(found).toBe('');
  });

  it('holds what a checkout holds only where it is part of the program', async () => {
    const everything = await shell('ls -A /app /app/*; cat /app/.env 2>/dev/null; true');
    expect(everything).not.toMatch(/\.env\b|ca\.pem|canary|\.git\b/);
    const history = await docker('history', '--no-trunc', '--format', '{{.CreatedBy}}', image);
    expect(history).not.toMatch(/token|password|secret|https?:\/\//i);
  });

  it('is built of every folder that its processes may import', async () => {
    const architecture = await readFile(join(repository, 'ARCHITECTURE.md'), 'utf8');
    const rows = [...architecture.matchAll(/^\| \d \| `(\w+)` \|/gm)].map((row) => row[1] ?? '');
    const there = (await shell('ls /app')).split('\n');
    expect(rows.filter((folder) => folder !== 'embedded' && !there.includes(folder))).toEqual([]);
  });

  it('says how large it is', async () => {
    const [all, below] = await Promise.all(
      [image, base].map((name) => docker('inspect', '--format', '{{.Size}}', name)),
    );
    const mib = Math.round((Number(all) - Number(below)) / 1024 ** 2);
    process.stdout.write(`The image adds ${mib} MiB to its base.\n`);
    expect(mib).toBeLessThan(600);
  });

  describe('as a team uses it', () => {
    let team: Team;
    beforeAll(async () => {
      team = await startTeam(join(dir, 'checkout'));
    }, 300_000);
    afterAll(() => team.remove(), 120_000);

    it('runs a project from commit to model', async () => {
      const { code, out, notes } = await callCli(['run', '--wait'], { cwd: team.checkout, env: team.env });
      expect(code, notes).toBe(0);
      expect(out).toContain('succeeded');
    }, 180_000);

    it('hands out its command line', async () => {
      const answer = await fetch(`${team.url}/assay.tgz`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('application/gzip');
    });

    it('stops in order when it is asked to', async () => {
      for (const name of team.containers.toReversed()) {
        await docker('stop', '--time', '60', name);
        expect([name, await docker('inspect', '--format', '{{.State.ExitCode}}', name)]).toEqual([name, '0']);
      }
    }, 180_000);
  });
});

async function buildBase(context: string): Promise<void> {
  await mkdir(context);
  const { stdout: npm } = await run('sh', ['-c', 'command -v npm']);
  await cp(process.execPath, join(context, 'node'));
  await cp(resolve(await realpath(npm.trim()), '../..'), join(context, 'npm'), { recursive: true });
  const lines = [
    `FROM ${debian}`,
    'COPY node /usr/local/bin/node',
    'COPY npm /usr/local/lib/node_modules/npm',
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
  ];
  await writeFile(join(context, 'Dockerfile'), lines.join('\n'));
  await docker('build', '--quiet', '--tag', base, context);
}

/** A checkout with what may lie in one besides, and the authority that this machine trusts. */
async function buildImage(context: string): Promise<void> {
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: repository,
  });
  for (const path of stdout.split('\0').filter(Boolean)) {
    await mkdir(dirname(join(context, path)), { recursive: true });
    await cp(join(repository, path), join(context, path), { force: true }).catch(ignoreGone);
  }
  await writeFile(join(context, '.env'), 'ASSAY_SECRET_KEY=canary\n');
  if (authority !== undefined) await cp(authority, join(context, 'ca.pem'));
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].filter((name) => process.env[name]);
  const forwarded = proxies.flatMap((name) => ['--build-arg', name]);
  await docker('build', '--quiet', '--build-arg', `BASE=${base}`, ...forwarded, '--tag', image, context);
}

/** A file that was removed is listed until the next commit. */
function ignoreGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

interface Team {
  url: string;
  checkout: string;
  env: Record<string, string>;
  containers: string[];
  remove: () => Promise<void>;
}

/** Migrations, then API, control worker and stage worker as containers on this machine's network. */
async function startTeam(checkout: string): Promise<Team> {
  const [database, temporal, port, controlPort, stagePort] = [
    await createTestDatabase(),
    await testTemporal(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const name = `assay-image-${randomUUID().slice(0, 8)}`;
  const containers: string[] = [];
  const remove = () => removeTeam(containers, name, database);
  try {
    const url = `http://127.0.0.1:${port}`;
    const settings = {
      ASSAY_DATABASE_URL: database.appUrl,
      ASSAY_TEMPORAL_ADDRESS: temporal.address,
      ASSAY_TEMPORAL_NAMESPACE: name,
      ASSAY_PORT: String(port),
      ASSAY_PUBLIC_URL: url,
      ...(authority === undefined ? {} : { ASSAY_EXTRA_CA: '/authority.pem' }),
    };
    const given = (more: Record<string, string> = {}) =>
      Object.entries({ ...settings, ...more }).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
    const trusted = authority === undefined ? [] : ['--volume', `${resolve(authority)}:/authority.pem:ro`];
    const place = ['--network', 'host', '--volume', `${name}:/var/lib/assay`, ...trusted];
    await docker(
      'run',
      '--rm',
      ...place,
      ...given({ ASSAY_DATABASE_OWNER_URL: database.ownerUrl }),
      image,
      'node',
      'worker/migrate.ts',
    );
    const start = async (role: string, more: Record<string, string>, ...command: string[]) => {
      containers.push(`${name}-${role}`);
      await docker('run', '--detach', '--name', `${name}-${role}`, ...place, ...given(more), image, 'node', ...command);
    };
    await start('api', {}, 'api/main.ts');
    const health = (healthPort: number) => ({ ASSAY_HEALTH_PORT: String(healthPort) });
    await start('control', health(controlPort), 'worker/main.ts', '--role', 'control');
    await start('stage', health(stagePort), 'worker/main.ts', '--role', 'stage', '--pool', 'cpu');
    await untilAnswers(containers, [
      `${url}/ready`,
      ...[controlPort, stagePort].map((one) => `http://127.0.0.1:${one}/health`),
    ]);
    const token = await docker('exec', `${name}-api`, 'cat', '/var/lib/assay/token');
    await makeProject(checkout);
    return { url, checkout, env: { HOME: checkout, ASSAY_URL: url, ASSAY_TOKEN: token }, containers, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function untilAnswers(containers: readonly string[], urls: readonly string[]): Promise<void> {
  await until(async () => {
    for (const name of containers) {
      if ((await docker('inspect', '--format', '{{.State.Running}}', name)) === 'true') continue;
      const { stdout, stderr } = await run('docker', ['logs', '--tail', '20', name]);
      throw new Error(`${name} ended: ${stdout}${stderr}`);
    }
    const answers = await Promise.all(urls.map((url) => fetch(url).catch(() => null)));
    return answers.every((answer) => answer?.ok === true);
  }, 180_000);
}

async function removeTeam(containers: readonly string[], volume: string, database: TestDatabase): Promise<void> {
  for (const name of containers) await docker('rm', '--force', '--volumes', name);
  await docker('volume', 'rm', volume);
  await database.drop();
}

async function makeProject(root: string): Promise<void> {
  await mkdir(root);
  await git(root, 'init', '--quiet', '--initial-branch=main');
  const script =
    'import os\nos.makedirs("model", exist_ok=True)\nopen("model/weights", "w").write("1")\nopen("metrics.json", "w").write(\'{"loss": 0.1}\')\n';
  await writeFile(join(root, 'train.py'), script);
  await writeFile(
    join(root, 'assay.yaml'),
    'project: pets\nstages: { train: { command: python train.py } }\nmetrics: { files: [metrics.json] }\nmodel: { name: pets, path: model/ }\ngate: ["loss <= 0.2"]\n',
  );
  await commitAll(root, 'Train on pets');
}
