// Whole runs whose stages are containers, through real workers.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerRunner, nodeOf } from '#activities/runners/docker/docker-runner.ts';
import { createNetworks } from '#activities/runners/docker/networks/networks.ts';
import { findPython } from '#activities/runners/find-python.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { ensureStageUser } from '#activities/runners/stage-user.ts';
import { artifacts, attempts } from '#db/schema/steps.ts';
import { dockerEngine, testBaseImage } from '../support/docker.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

// Networks of containers take root.
const docker = process.getuid?.() === 0 ? await dockerEngine() : null;
const api = createServer((_, response) => response.end('the API'));
let workers: TestWorkers;
let home: string;

async function containers(): Promise<Runner> {
  if (docker === null) throw new Error('There is no engine.');
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser);
  const stateDir = join(home, 'launches');
  const apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  const networks = createNetworks({ docker, node: nodeOf(stateDir), stateDir, apiUrl, most: 'open', allowed: [] });
  return createDockerRunner({ docker, stateDir, python, stageUser, networks });
}

/** What makes environments into images of the test's base, with the certificates that the package index needs here. */
function environment() {
  if (docker === null) throw new Error('There is no engine.');
  const limits = { memoryBytes: 2 * 2 ** 30, cpus: 2 };
  return {
    extraCaFile: process.env.SSL_CERT_FILE ?? null,
    images: { docker, baseImage: testBaseImage, limits, loginsFile: null },
  };
}

async function submit(name: string, script: string, more = 'outputs: []', files: Record<string, string> = {}) {
  const yaml = `stages: { train: { command: python3 train.py, ${more} } }\n`;
  const all = { 'train.py': script, 'assay.yaml': yaml, ...files };
  const { projectId, commit } = await workers.createProject(name, all);
  return await workers.submit(projectId, commit);
}

describe.skipIf(docker === null)('a run in containers (skipped: no Docker engine, or not root)', () => {
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'assay-containers-'));
    await chmod(home, 0o711);
    const runner = await containers();
    const offer = { kind: 'docker' as const, networkMax: 'open' as const };
    workers = await startTestWorkers({ slots: 3, runner: () => runner, offer, environment: environment() });
  });

  afterAll(async () => {
    await workers.stop();
    api.close();
    await rm(home, { recursive: true, force: true });
  });

  it('reads its code, reaches the API and has what it wrote stored', async () => {
    const script = `
import os, tempfile, urllib.request
print(urllib.request.urlopen(os.environ["ASSAY_API_URL"]).read().decode())
for folder in ("/tmp", os.environ["TMPDIR"], os.environ["HOME"]): tempfile.TemporaryFile(dir=folder).close()
open("model.bin", "w").write("trained")
`;
    const runId = await submit('reads', script, 'network: platform');
    expect((await workers.finished(runId)).failure).toBeNull();
    const rows = await workers.db.select().from(artifacts).where(eq(artifacts.runId, runId));
    expect(rows.map(({ path }) => path)).toContain('model.bin');
    await workers.until(runId, async () => (await workers.runner.list()).every((name) => !name.startsWith(runId)));
  });

  it('has the packages of its requirement file in the image that the attempt names', async () => {
    const script = 'import six; print("six", six.__version__); open("out.txt", "w").write(six.__version__)\n';
    const files = { 'requirements.txt': 'six==1.17.0\n' };
    const runId = await submit('packages', script, 'network: none, deterministic: true', files);
    expect((await workers.finished(runId, 180_000)).failure).toBeNull();
    const [attempt] = await workers.db.select().from(attempts).where(eq(attempts.runId, runId));
    const image = String(attempt?.hardware?.image);
    expect(attempt?.hardware).toMatchObject({ libc: expect.stringMatching(/^glibc/), cpuModel: expect.any(String) });
    expect(attempt?.facts).toMatchObject({ determinism: { held: true, processes: 1, libraries: [] } });
    const base = await docker?.getImage(testBaseImage).inspect();
    const made = await docker?.getImage(image).inspect();
    expect(made?.RootFS.Layers).toHaveLength((base?.RootFS.Layers?.length ?? 0) + 1);
    const again = await submit('packages-again', script, 'network: none', files);
    expect((await workers.finished(again)).failure).toBeNull();
    const build = (await workers.steps(again)).find(({ name }) => name === 'build-environment');
    expect(build?.facts).toMatchObject({ lock: 'hit', environment: 'hit', image });
  }, 240_000);

  it('that uses too much memory fails for its resources', async () => {
    const runId = await submit('greedy', 'x = bytearray(600 * 2**20)\n', 'network: none, resources: { memory: 128Mi }');
    expect((await workers.finished(runId)).failure).toMatchObject({ class: 'resources' });
  });

  it('whose container somebody removes is launched again and costs no retry', async () => {
    const script = `
import os, time
if os.environ["ASSAY_ATTEMPT"] == "1": time.sleep(600)
`;
    const runId = await submit('removed', script, 'network: none');
    await workers.until(runId, async () => {
      const found = await docker?.listContainers({ filters: { label: [`org.assay.run=${runId}`] } });
      const [first] = found ?? [];
      if (first !== undefined) await docker?.getContainer(first.Id).remove({ force: true });
      return first !== undefined;
    });
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const rows = await workers.db.select().from(attempts).where(eq(attempts.runId, runId)).orderBy(attempts.fence);
    expect(rows.map(({ fence }) => fence)).toEqual([1, 2]);
  });
});
