// What is stored of a checkpoint directory while a stage, well behaved or not, writes to it.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import type { StageExit } from '#activities/runners/runner.ts';
import { restoreCheckpoints } from '#activities/stage/checkpoints/restore-checkpoints.ts';
import { type CheckpointWatch, watchCheckpoints } from '#activities/stage/checkpoints/watch-checkpoints.ts';
import type { Watch } from '#activities/stage/watch.ts';
import { getAttempt, openAttempt } from '#db/attempts.ts';
import { listCheckpointFiles } from '#db/checkpoints.ts';
import { connect, type Connection } from '#db/connect.ts';
import { checkpointSets } from '#db/schema/checkpoints.ts';
import { runs } from '#db/schema/runs.ts';
import { setStepKey } from '#db/steps.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { createDiskStore } from '#storage/disk.ts';
import { readBlob } from '#storage/keep.ts';
import { insertProject, insertWaiting } from '#test/db/runs-in-database.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { until } from '#test/support/stack.ts';

let database: TestDatabase;
let connection: Connection;
let home: string;
let disk: BlobStore;
let projectId: string;
let stored = 0;
let isFull = false;
let store: BlobStore;

beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl);
  home = await mkdtemp(join(tmpdir(), 'assay-checkpoints-'));
  disk = await createDiskStore({ root: join(home, 'blobs'), durability: 'rename-only' });
  projectId = await insertProject(connection.db, 'digits');
  store = {
    ...disk,
    async stage(source, options) {
      if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      stored += 1;
      return await disk.stage(source, options);
    },
  };
});

afterAll(async () => {
  await connection.close();
  await database.drop();
  await rm(home, { recursive: true, force: true });
});

beforeEach(() => {
  stored = 0;
  isFull = false;
});

const filesOfTest = 500;

const exited: StageExit = {
  reason: 'exited',
  code: 0,
  signal: null,
  outOfMemory: false,
  startedAt: '',
  finishedAt: '',
  peakMemoryBytes: 0,
  cpuSeconds: 0,
  logBytes: 0,
  logDroppedBytes: 0,
  leftoverProcesses: 0,
  detail: null,
};
const killed = (): StageExit => ({
  ...exited,
  reason: 'signalled',
  code: null,
  signal: 'SIGKILL',
  finishedAt: new Date().toISOString(),
});

/** A launch of a stage, of which only what checkpoints need is there. */
async function launch(runId?: string) {
  const { db } = connection;
  const id = { runId: runId ?? (await insertWaiting(db, projectId)), execution: 1, step: 'train' };
  if (runId === undefined) {
    await db.update(runs).set({ status: 'running' }).where(eq(runs.id, id.runId));
    await setStepKey(db, id, 'k1', {}, true);
  }
  const attempt = await openAttempt(db, {
    ...id,
    nodeId: 'n',
    pool: 'cpu',
    devices: [],
    tokenHashOf: (name) => name,
    leaseMs: 60_000,
    hardware: {},
    launchOf: (fence) => `${id.runId}.train.${fence}`,
  });
  const folder = join(home, attempt?.launch ?? '');
  const directory = join(folder, 'stage', 'checkpoints');
  await mkdir(directory, { recursive: true });
  const watch = {
    deps: { db, store },
    attempt,
    stage: { name: 'train' },
    space: { folder, directories: { checkpoint: directory } },
  } as unknown as Watch;
  return { watch, directory, id };
}

async function start({ onTestFinished }: TestContext) {
  const launched = await launch();
  const checkpoints: CheckpointWatch = await watchCheckpoints(launched.watch);
  onTestFinished(() => checkpoints.abandon());
  return { ...launched, checkpoints };
}

async function setsOf(runId: string) {
  const { db } = connection;
  const rows = await db
    .select()
    .from(checkpointSets)
    .where(eq(checkpointSets.runId, runId))
    .orderBy(checkpointSets.number);
  return await Promise.all(rows.map(async (row) => ({ ...row, list: await listCheckpointFiles(db, row) })));
}

const newestOf = async (runId: string) => (await setsOf(runId)).at(-1);
const pathsOf = async (runId: string) => (await newestOf(runId))?.list.map(({ path }) => path);

describe.concurrent('a checkpoint directory', () => {
  it('becomes a set once it is at rest, and a renamed file is not read again', async (test) => {
    const { directory, id } = await start(test);
    await mkdir(join(directory, 'a'));
    await writeFile(join(directory, 'a', 'one.pt.tmp'), 'one'.repeat(1000), { mode: 0o755 });
    await until(async () => (await pathsOf(id.runId))?.[0] === 'a/one.pt.tmp');
    const before = await newestOf(id.runId);
    await rename(join(directory, 'a', 'one.pt.tmp'), join(directory, 'one.pt'));
    await until(async () => (await pathsOf(id.runId))?.[0] === 'one.pt');
    const after = await newestOf(id.runId);
    expect(after?.list[0]).toMatchObject({ sha256: before?.list[0]?.sha256, executable: true, sizeBytes: 3000 });
    expect(after).toMatchObject({ number: 2, files: 1, stepKey: 'k1', fence: 1 });
  });

  it('is kept without a file that is open for writing or rewritten all the time, and no half of one is stored', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    // Both do what an in-place save does: one pauses in the middle with the file open, one never pauses.
    const holder = spawn(
      'sh',
      ['-c', 'exec 3>held.pt; echo half >&3; read line; echo whole >&3; exec 3>&-; read line'],
      {
        cwd: directory,
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    );
    const writer = spawn('sh', ['-c', 'while :; do head -c 100000 /dev/urandom > big.pt; done'], { cwd: directory });
    test.onTestFinished(() => kill(holder, writer));
    await until(async () => (await readFile(join(directory, 'held.pt'), 'utf8').catch(() => '')) === 'half\n');
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(await setsOf(id.runId)).toEqual([]);
    await kill(writer);
    await rm(join(directory, 'big.pt'));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await setsOf(id.runId)).toEqual([]);
    holder.stdin.write('\n');
    await until(async () => (await newestOf(id.runId)) !== undefined);
    const [file] = (await newestOf(id.runId))?.list ?? [];
    expect((await readBlob(disk, file?.sha256 ?? '')).toString()).toBe('half\nwhole\n');
    expect(checkpoints.notes()).toEqual([]);
  });

  it('of a killed stage is kept without what it wrote in its last moment', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    await writeFile(join(directory, 'epoch-1.pt'), 'whole');
    await until(async () => (await pathsOf(id.runId))?.length === 1);
    await writeFile(join(directory, 'epoch-2.pt'), 'perhaps hal');
    await checkpoints.finish(killed(), 10_000);
    expect(await pathsOf(id.runId)).toEqual(['epoch-1.pt']);
  });

  it('of a stage that was asked to end is kept with what it wrote in its grace', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    await writeFile(join(directory, 'epoch-1.pt'), 'whole');
    await checkpoints.beforeStop(60_000);
    await writeFile(join(directory, 'epoch-2.pt'), 'saved in time');
    // The shell around it died of the request.
    await checkpoints.finish({ ...killed(), signal: 'SIGTERM' }, 10_000);
    expect(await pathsOf(id.runId)).toEqual(['epoch-1.pt', 'epoch-2.pt']);
  });

  it('of a stage that the request to end killed in the middle of a file is left as it was before', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    await writeFile(join(directory, 'last.pt'), 'whole');
    await until(async () => (await pathsOf(id.runId))?.length === 1);
    const sha256 = (await newestOf(id.runId))?.list[0]?.sha256;
    const writer = spawn('sh', ['-c', 'exec 3>last.pt; echo ha >&3; sleep 60'], { cwd: directory });
    await until(async () => (await readFile(join(directory, 'last.pt'), 'utf8')) === 'ha\n');
    await checkpoints.beforeStop(60_000);
    await kill(writer);
    await checkpoints.finish({ ...killed(), signal: 'SIGTERM' }, 10_000);
    expect((await setsOf(id.runId)).map(({ list }) => list.map((file) => file.sha256))).toEqual([[sha256]]);
  });

  it('may hold links, which are not followed, and one in its own place stores nothing', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    const outside = join(home, 'outside');
    await mkdir(outside, { recursive: true });
    await writeFile(join(outside, 'token'), 'not for stages');
    await symlink(join(outside, 'token'), join(directory, 'link'));
    await symlink(outside, join(directory, 'folder'));
    await writeFile(join(directory, 'own'), 'own');
    await until(async () => (await newestOf(id.runId)) !== undefined);
    expect(await pathsOf(id.runId)).toEqual(['own']);
    await rm(directory, { recursive: true });
    await symlink(outside, directory);
    await until(() => checkpoints.notes().length === 2);
    expect(checkpoints.notes()).toEqual([
      'Links in the checkpoint directory are not kept.',
      'The stage put something else in the place of its checkpoint directory.',
    ]);
    await checkpoints.finish(exited, 10_000);
    expect((await setsOf(id.runId)).map(({ number }) => number)).toEqual([1]);
    expect((await getAttempt(connection.db, { ...id, fence: 1 }))?.facts?.notes).toEqual(checkpoints.notes());
  });

  it('is kept by the newest attempt alone, and its successor finds it', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    await writeFile(join(directory, 'epoch-1.pt'), 'one');
    await until(async () => (await pathsOf(id.runId))?.length === 1);
    const second = await launch(id.runId);
    await restoreCheckpoints(second.watch);
    expect(await readFile(join(second.directory, 'epoch-1.pt'), 'utf8')).toBe('one');
    expect(second.watch.attempt.restoredFrom).toMatchObject({ attempt: 1, set: 1, files: 1, sizeBytes: 3 });
    // The first is still alive somewhere.
    await writeFile(join(directory, 'epoch-2.pt'), 'of the past');
    await checkpoints.finish(exited, 10_000);
    expect((await setsOf(id.runId)).map(({ number }) => number)).toEqual([1]);
  });
});

describe('a checkpoint directory', () => {
  it('of thousands of files is kept, restored, and not read again after that', async (test) => {
    const { directory, id } = await start(test);
    await promisify(execFile)('sh', ['-c', `seq ${filesOfTest} | split -l 1 -a 4 - part-`], { cwd: directory });
    await until(async () => (await newestOf(id.runId))?.files === filesOfTest, 120_000);
    const before = stored;
    const second = await launch(id.runId);
    await restoreCheckpoints(second.watch);
    const again = await watchCheckpoints(second.watch);
    await appendFile(join(second.directory, 'part-aaaa'), 'more');
    await again.finish(exited, 60_000);
    expect((await setsOf(id.runId)).map(({ number, files, fence }) => [number, files, fence])).toEqual([
      [1, filesOfTest, 1],
      [2, filesOfTest, 2],
    ]);
    expect(stored - before).toBe(1);
  }, 180_000);

  it('that can not be stored for a full disk costs the stage nothing but a note', async (test) => {
    const { directory, id, checkpoints } = await start(test);
    isFull = true;
    await writeFile(join(directory, 'epoch-1.pt'), 'one');
    await until(() => checkpoints.notes().length === 1);
    expect(checkpoints.notes()[0]).toContain('the disk is full');
    isFull = false;
    await until(async () => (await pathsOf(id.runId))?.length === 1);
    isFull = true;
    await writeFile(join(directory, 'epoch-2.pt'), 'two');
    await checkpoints.finish(exited, 60_000);
    expect(await pathsOf(id.runId)).toEqual(['epoch-1.pt']);
  });
});

async function kill(...children: ChildProcess[]): Promise<void> {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }
}
