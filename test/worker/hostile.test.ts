// Stages that misbehave, through real workers: each ends with the right class and one sentence, and leaves nothing.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBlob } from '#storage/keep.ts';
import { artifacts, attempts, logChunks, metrics } from '#db/schema/steps.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 4 });
});

afterAll(async () => {
  await workers.stop();
});

interface Ended {
  status: string;
  failure: { class: string; sentence: string; logTail: string[] } | null;
  paths: string[];
  metrics: string[];
  notes: string[];
  log: string;
  seconds: number;
}

/** Runs one stage to its end; `more` are further keys of the stage. */
async function runTo(name: string, script: string, more = 'outputs: []'): Promise<Ended> {
  const yaml = `stages: { train: { command: python train.py, ${more} } }\n`;
  const { projectId, commit } = await workers.createProject(name, { 'train.py': script, 'assay.yaml': yaml });
  const runId = await workers.submit(projectId, commit);
  const run = await workers.finished(runId);
  await nothingIsLeft(runId);
  const rows = await workers.db.select().from(artifacts).where(eq(artifacts.runId, runId));
  const reported = await workers.db.select().from(metrics).where(eq(metrics.runId, runId));
  const [attempt] = await workers.db.select().from(attempts).where(eq(attempts.runId, runId));
  return {
    status: run.status,
    failure: run.failure,
    paths: rows.map(({ path }) => path).toSorted(),
    metrics: reported.map(({ key }) => key).toSorted(),
    notes: (attempt?.facts?.notes ?? []) as string[],
    log: await logOf(runId),
    seconds: ((attempt?.finishedAt?.getTime() ?? 0) - (attempt?.startedAt?.getTime() ?? 0)) / 1000,
  };
}

async function logOf(runId: string): Promise<string> {
  const chunks = await workers.db
    .select()
    .from(logChunks)
    .where(eq(logChunks.runId, runId))
    .orderBy(logChunks.step, logChunks.fence, logChunks.offsetBytes);
  const parts = chunks
    .filter(({ step }) => step === 'train')
    .map(async ({ inline, sha256 }) => inline ?? (await readBlob(workers.store, sha256 ?? '')));
  return Buffer.concat(await Promise.all(parts)).toString('latin1');
}

async function nothingIsLeft(runId: string): Promise<void> {
  await workers.until(runId, async () => {
    const held = await workers.runner.list();
    const directories = await readdir(join(workers.home, 'node', 'work'));
    return ![...held, ...directories].some((name) => name.startsWith(runId));
  });
  const environments = await Promise.all(
    (await readdir('/proc'))
      .filter((entry) => /^\d+$/.test(entry))
      // A process that ends meanwhile is no leftover.
      .map(async (pid) => await readEnvironment(`/proc/${pid}`)),
  );
  expect(environments.filter((text) => text.includes(`ASSAY_LAUNCH=${runId}`))).toEqual([]);
}

async function readEnvironment(process: string): Promise<string> {
  return await readFile(`${process}/environ`, 'utf8').catch(() => '');
}

describe.concurrent('a stage that', () => {
  it('leaves processes in sessions of their own loses them, and what they write later is no output', async () => {
    const ended = await runTo(
      'daemons',
      `
import os, time
for n in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1)
            open("late-%d.txt" % n, "w").write("late")
            time.sleep(600)
        os._exit(0)
open("early.txt", "w").write("early")
print("parent ends")
`,
    );
    expect(ended).toMatchObject({ status: 'succeeded', paths: ['early.txt'], log: 'parent ends\n' });
  });

  it('ignores the request to end is killed after its grace when its time is over', async () => {
    const ended = await runTo(
      'deaf',
      'import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("deaf", flush=True)\ntime.sleep(600)\n',
      'timeout: 1s, grace: 1s',
    );
    expect(ended.failure).toMatchObject({ class: 'timeout', sentence: expect.stringContaining('timeout of 1s') });
    expect(ended.seconds).toBeLessThan(20);
  });

  it('uses more memory than it asked for fails for its resources', async () => {
    const ended = await runTo('greedy', 'x = bytearray(600 * 2**20)\n', 'resources: { memory: 128Mi }');
    expect(ended.failure).toMatchObject({ class: 'resources', sentence: expect.stringContaining('memory') });
  });

  it('removes its working directory succeeds without outputs', async () => {
    const ended = await runTo('self-destruction', 'import os, shutil\nshutil.rmtree(os.getcwd())\nprint("gone")\n');
    expect(ended).toMatchObject({ status: 'succeeded', paths: [] });
    expect(ended.notes.join()).toContain('removed its working directory');
  });

  it('removes its working directory although it promised outputs fails and they are named', async () => {
    const script = 'import os, shutil\nshutil.rmtree(os.getcwd())\n';
    const ended = await runTo('broken-promise', script, 'outputs: [model/]');
    expect(ended.failure).toMatchObject({ class: 'user', sentence: expect.stringContaining('model/') });
  });

  it('puts a link in the place of its working directory lends the worker nothing to read', async () => {
    const script = 'import os, shutil\nwork = os.getcwd()\nshutil.rmtree(work)\nos.symlink("/etc", work)\n';
    const ended = await runTo('swapped', script);
    expect(ended.failure).toMatchObject({ class: 'user', sentence: expect.stringContaining('in the place of') });
    expect(ended.paths).toEqual([]);
  });

  it('makes links to files of others keeps none of them as output', async () => {
    const script = `
import os
os.symlink("/etc/shadow", "shadow.txt")
os.symlink("/etc", "folder")
os.mkfifo("pipe")
open("own.txt", "w").write("own")
`;
    const ended = await runTo('links', script);
    expect(ended).toMatchObject({ status: 'succeeded', paths: ['own.txt'] });
  });

  it('takes all rights from its directory is collected all the same, or told that nobody can read it', async () => {
    const script = 'import os\nopen("own.txt", "w").write("own")\nos.chmod("own.txt", 0)\nos.chmod(os.getcwd(), 0)\n';
    const ended = await runTo('locked', script);
    if (process.getuid?.() === 0) expect(ended).toMatchObject({ status: 'succeeded', paths: ['own.txt'] });
    else expect(ended.failure).toMatchObject({ class: 'user', sentence: expect.stringContaining('can not be read') });
  });

  it('gives its files every name the system allows keeps those that are text', async () => {
    const script = `
import os
for name in ["größe.txt", "line\\nbreak.txt", "quote'\\".txt", "-rf", "数据.csv", " ", "a" * 200]:
    open(name, "w").write(name)
open(b"latin1-\\xff.txt", "w").write("?")
`;
    const ended = await runTo('names', script);
    const names = ['größe.txt', 'line\nbreak.txt', 'quote\'".txt', '-rf', '数据.csv', ' ', 'a'.repeat(200)];
    expect(ended).toMatchObject({ status: 'succeeded', paths: names.toSorted() });
    expect(ended.notes.join()).toContain('1 files have names that are not UTF-8');
  });

  it('prints binary bytes, a progress bar and no last line break has a log of exactly those bytes', async () => {
    const script = `
import sys
out = sys.stdout.buffer
out.write(bytes(range(256)))
for n in range(100):
    out.write(b"\\r%d%%" % n)
out.write(b"\\nthe end")
sys.exit(4)
`;
    const ended = await runTo('binary', script);
    const bar = Array.from({ length: 100 }, (_, n) => `\r${n}%`).join('');
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n)).toString('latin1');
    expect(ended.log).toBe(`${bytes}${bar}\nthe end`);
    expect(ended.failure?.logTail.slice(-2)).toEqual(['99%', 'the end']);
  });

  it('reports metrics under names that no row can have keeps the others', async () => {
    const script = `
import json
json.dump({"good": 1, "nul\\u0000": 2, "long" * 1000: 3, "nan": float("nan")}, open("metrics.json", "w"))
`;
    const ended = await runTo('odd-metrics', script);
    expect(ended.status).toBe('succeeded');
    expect(ended.metrics).toEqual(['good', 'nan']);
    expect(ended.notes.join()).toContain('a key with the character 0');
  });

  it('prints more than is kept has a log with its beginning, its end and what was left out', async () => {
    const script = `
import os
block = b"x" * 1023 + b"\\n"
for _ in range(128):
    os.write(1, block * 1024)
print("the end")
`;
    const ended = await runTo('talker', script);
    expect(ended.status).toBe('succeeded');
    expect(ended.log).toMatch(/\[assay\] The log reached its limit of \d+ bytes: \d+ bytes are left out here/);
    expect(ended.log.endsWith('the end\n')).toBe(true);
  });

  it('writes thousands of small files keeps them all', async () => {
    const script = `
import os
os.mkdir("many")
for n in range(2000):
    open("many/%d.txt" % n, "w").write(str(n))
`;
    const ended = await runTo('many', script);
    expect(ended.status).toBe('succeeded');
    expect(ended.paths).toHaveLength(2000);
  });
});
