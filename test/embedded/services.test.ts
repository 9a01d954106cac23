import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '#embedded/ports.ts';
import { processesIn, type StackProcess, type StackReady, startStackProcess, until } from '#test/support/stack.ts';

let home: string;
let apiPort: string;
const started: StackProcess[] = [];

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-stack-'));
  // The database's account, where root runs this, has to reach its files here.
  await chmod(home, 0o711);
  apiPort = String(await freePort());
});

afterAll(() => rm(home, { recursive: true, force: true }));

function start(env: NodeJS.ProcessEnv = {}): StackProcess {
  const stack = startStackProcess(home, { ASSAY_PORT: apiPort, ...env });
  started.push(stack);
  return stack;
}

async function stopAll(): Promise<void> {
  for (const stack of started.splice(0)) {
    if (stack.process.exitCode === null && stack.process.signalCode === null) await stack.kill('SIGINT');
  }
  await until(() => processesIn(home).length === 0);
}

async function canQuery(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false; // Not yet: the caller asks again until its time is up.
  } finally {
    await client.end();
  }
}

async function hasNamespace({ address, namespace }: Pick<StackReady, 'address' | 'namespace'>): Promise<boolean> {
  try {
    const connection = await Connection.connect({ address, connectTimeout: '2s' });
    await connection.workflowService.describeNamespace({ namespace });
    await connection.close();
    return true;
  } catch {
    return false; // Not yet: the caller asks again until its time is up.
  }
}

describe('a running stack', () => {
  let stack: StackProcess;
  let ready: StackReady;

  beforeAll(async () => {
    stack = start();
    ready = await stack.ready();
  });

  afterAll(stopAll);

  test('its servers answer', async () => {
    expect(await canQuery(ready.ownerUrl)).toBe(true);
    expect(await canQuery(ready.appUrl)).toBe(true);
    expect(await hasNamespace(ready)).toBe(true);
    expect((await fetch(String(ready.uiUrl))).ok).toBe(true);
  });

  test('passwords may be read by their owner alone, and nothing of the database by others', async () => {
    expect((await stat(join(home, 'postgres.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(home, 'postgres'))).mode & 0o777).toBe(0o700);
  });

  test('a second one is refused with the process and the address of the first', async () => {
    await expect(start().ready()).rejects.toThrow(`process ${stack.process.pid}, http://127.0.0.1:${apiPort}`);
  });

  test.for(['postgres', 'temporal', 'guard'])(
    'kill -9 of %s: it is started again at the same address',
    async (name) => {
      const before = await stack.pids();
      process.kill(before[name] as number, 'SIGKILL');
      await until(async () => {
        const now = await stack.pids();
        return now[name] !== before[name] && now.postgres !== undefined && now.temporal !== undefined;
      });
      await until(() => canQuery(ready.appUrl));
      await until(() => hasNamespace(ready));
      expect(stack.lines.some((line) => line.said?.includes('again'))).toBe(true);
    },
  );

  test('a stop in order leaves no process behind', async () => {
    await stack.kill('SIGINT');
    expect(stack.process.exitCode).toBe(0);
    expect(processesIn(home)).toEqual([]);
  });
});

describe('the next start', () => {
  afterEach(stopAll);

  test('after kill -9 of the process that holds the stack finds its servers gone and the data there, at the same address', async () => {
    const first = start();
    const { ownerUrl } = await first.ready();
    const client = new pg.Client({ connectionString: ownerUrl });
    client.on('error', () => undefined);
    await client.connect();
    await client.query('create table if not exists kept (id int)');
    await first.kill('SIGKILL');
    await until(() => processesIn(home).length === 0);
    await client.end();

    const { ownerUrl: again } = await start().ready();
    expect(again).toBe(ownerUrl);
    const reader = new pg.Client({ connectionString: again });
    await reader.connect();
    expect((await reader.query('select count(*)::int as rows from kept')).rows).toEqual([{ rows: 0 }]);
    await reader.end();
  });

  test('after kill -9 of the process and the guard at once stops what is left and takes its place', async () => {
    const first = start();
    await first.ready();
    const { guard } = await first.pids();
    process.kill(guard as number, 'SIGKILL');
    await first.kill('SIGKILL');
    const second = start();
    const { appUrl } = await second.ready();
    expect(await canQuery(appUrl)).toBe(true);
    const temporals = processesIn(join(home, 'temporal'));
    expect(temporals).toEqual([(await second.pids()).temporal]);
  });

  test('makes a Temporal database again whose first start was cut short', async () => {
    await rm(join(home, 'temporal', 'complete'));
    await rm(join(home, 'temporal', 'temporal.db-wal'), { force: true });
    await writeFile(join(home, 'temporal', 'temporal.db'), 'half a database');
    expect(await hasNamespace(await start().ready())).toBe(true);
  });

  test('replaces a port that a stranger took meanwhile, for the servers, whose ports nobody knows', async () => {
    const kept = JSON.parse(await readFile(join(home, 'ports.json'), 'utf8')) as { postgres: number };
    const stranger = createServer().listen(kept.postgres, '127.0.0.1');
    await once(stranger, 'listening');
    const { appUrl } = await start().ready();
    expect(new URL(appUrl).port).not.toBe(String(kept.postgres));
    stranger.close();
  });

  test('is refused with the variable to set when the API port is taken', async () => {
    const stranger = createServer().listen(Number(apiPort), '127.0.0.1');
    await once(stranger, 'listening');
    await expect(start().ready()).rejects.toThrow(`ASSAY_PORT=${Number(apiPort) + 10}`);
    stranger.close();
  });

  test('is refused with the variable to set when its home cannot be made', async () => {
    const file = join(home, 'a-file');
    await writeFile(file, '');
    await expect(start({ ASSAY_HOME: join(file, 'home') }).ready()).rejects.toThrow('set ASSAY_HOME to a folder');
  });

  test('reports a program that does not run, and leaves nothing behind', async () => {
    const stack = start({ ASSAY_TEMPORAL_BIN: join(home, 'no-such-program') });
    await expect(stack.ready()).rejects.toThrow('ASSAY_TEMPORAL_BIN is');
    expect(processesIn(home)).toEqual([]);
  });
});
