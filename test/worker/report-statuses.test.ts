import { createServer } from 'node:https';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { DeliverySource, HostKind } from '#core/push.ts';
import { closeExecution, setWaiting } from '#db/executions.ts';
import { resumeRun } from '#db/resume.ts';
import { requestCancel } from '#db/runs.ts';
import { commitStatuses } from '#db/schema/commit-statuses.ts';
import { projects } from '#db/schema/projects.ts';
import { runs } from '#db/schema/runs.ts';
import { setSecret } from '#db/secrets.ts';
import { plainSubmit, submitWithin } from '#db/submit.ts';
import { inTransaction } from '#db/transaction.ts';
import { hasOpenssl } from '#test/git/https-server.ts';
import { removeTemporary } from '#test/git/repositories.ts';
import { reportStatuses } from '#worker/pushes/report-statuses.ts';
import { createPushes, type Pushes } from './pushes.ts';

const commit = 'c'.repeat(40);

interface Told {
  url: string;
  headers: IncomingMessage['headers'];
  body: Record<string, string>;
}

describe.skipIf(!hasOpenssl())('a git host', () => {
  let pushes: Pushes;
  let host: ReturnType<typeof createServer>;
  let port = 0;
  let told: Told[] = [];
  let answer: (response: ServerResponse, body: Record<string, string>) => void;

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
    told.push({ url: `${request.method} ${request.url}`, headers: request.headers, body });
    answer(response, body);
  };

  beforeAll(async () => {
    pushes = await createPushes();
    const certificate = await readFile(pushes.server.certificateFile);
    const key = await readFile(pushes.server.certificateFile.replace(/pem$/, 'key'));
    host = createServer({ key, cert: certificate }, (request, response) => void receive(request, response));
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    port = (host.address() as AddressInfo).port;
  });
  beforeEach(() => {
    told = [];
    answer = (response) => response.writeHead(201, { 'content-type': 'application/json' }).end('{}');
  });
  afterEach(async () => {
    await pushes.db.update(commitStatuses).set({ sent: sql`wanted` });
  });
  afterAll(async () => {
    host.closeAllConnections();
    host.close();
    await pushes.close();
    await removeTemporary();
  });

  const report = (changes: Partial<Parameters<typeof reportStatuses>[0]> = {}) =>
    reportStatuses({
      connection: pushes.connection,
      hosts: { allowPrivateRemotes: true, certificateFile: pushes.server.certificateFile },
      secretsKey: pushes.secretsKey,
      publicUrl: 'https://assay.example.org',
      log: pushes.log,
      ...changes,
    });

  const statusOf = async (runId: string) => {
    const [row] = await pushes.db.select().from(commitStatuses).where(eq(commitStatuses.runId, runId));
    return row;
  };
  const due = (runId: string) =>
    pushes.db
      .update(commitStatuses)
      .set({ nextAttemptAt: sql`clock_timestamp()` })
      .where(eq(commitStatuses.runId, runId));

  async function pushed(
    options: {
      hostKind?: HostKind | null;
      source?: DeliverySource;
      remoteUrl?: string | null;
      secret?: string | null;
      person?: boolean;
    } = {},
  ) {
    const { hostKind = null, source = 'gitea', secret = 'ada:tkn-0123', person = false } = options;
    const remoteUrl = options.remoteUrl === undefined ? `https://127.0.0.1:${port}/ada/digits.git` : options.remoteUrl;
    const project = await pushes.project({ remoteUrl, hostKind });
    if (secret !== null) {
      const wanted = { projectId: project.id, name: 'GIT_127_0_0_1', value: secret, by: 'ada' };
      await setSecret(pushes.db, pushes.secretsKey, wanted);
    }
    const delivery = await pushes.announce(project.id, commit, { source });
    const submit = {
      projectId: project.id,
      owner: 'ada',
      ref: 'main',
      commit,
      branch: 'main',
      ...plainSubmit,
      trigger: person ? null : ({ kind: 'push', branch: 'main', delivery } as const),
      priority: 3 as const,
    };
    const { runId } = await inTransaction(pushes.pool, (client) => submitWithin(client, submit));
    return { project, runId };
  }

  const finish = (runId: string, status: 'succeeded' | 'failed' | 'cancelled', failure: null | object = null) =>
    closeExecution(pushes.db, { runId, n: 1, status, failure: failure as never, skipReason: 'x' });

  test.each([
    ['github', `/api/v3/repos/ada/digits/statuses/${commit}`, 'authorization', 'Bearer tkn-0123'],
    ['gitea', `/api/v1/repos/ada/digits/statuses/${commit}`, 'authorization', 'token tkn-0123'],
    ['gitlab', `/api/v4/projects/ada%2Fdigits/statuses/${commit}`, 'private-token', 'tkn-0123'],
  ] as const)(
    'of the kind %s is told pending, then the result, in its own words',
    async (hostKind, path, header, value) => {
      const { project, runId } = await pushed({ hostKind });
      await report();
      await finish(runId, 'succeeded');
      await report();
      expect(told.map(({ url }) => url)).toEqual([`POST ${path}`, `POST ${path}`]);
      expect(told[0]?.headers[header]).toBe(value);
      const name = hostKind === 'gitlab' ? 'name' : 'context';
      expect(told.map(({ body }) => [body['state'], body[name], body['target_url']])).toEqual(
        ['pending', 'success'].map((state) => [
          state,
          `assay/${project.name}`,
          `https://assay.example.org/api/v1/runs/${runId}`,
        ]),
      );
      expect(await statusOf(runId)).toMatchObject({ sent: 2, wanted: 2, failure: null, shown: 'success: Finished' });
    },
  );

  test('is known by who announced the push when nobody says what it is', async () => {
    await pushed({ source: 'gitlab' });
    await pushed({ source: 'github' });
    await report();
    expect(new Set(told.map(({ url }) => url.split('/')[2]))).toEqual(new Set(['v3', 'v4']));
    const { runId } = await pushed({ source: 'poll' });
    await report();
    expect((await statusOf(runId))?.failure).toContain('--host-kind');
  });

  test.each([
    ['a failed gate', 'succeeded', null, 'failed', 'failure'],
    ['a script that failed', 'failed', { class: 'user', sentence: 'train exited with code 1.' }, null, 'failure'],
    ['a lost node', 'failed', { class: 'infrastructure', sentence: 'The node is lost.' }, null, 'error'],
    ['a cancel', 'cancelled', null, null, 'error'],
  ] as const)('is told of %s', async (_title, status, failure, gateResult, state) => {
    const { runId } = await pushed();
    await pushes.db.update(runs).set({ gateResult }).where(eq(runs.id, runId));
    await finish(runId, status, failure);
    await report();
    expect(told.map(({ body }) => body['state'])).toEqual([state]);
  });

  test('hears of every way a run changes, the newest state only, and of a resume again', async () => {
    const { runId } = await pushed();
    await setWaiting(pushes.db, runId, 'running', null);
    await setWaiting(pushes.db, runId, 'waiting', 'a slot');
    expect((await statusOf(runId))?.wanted).toBe(3);
    await requestCancel(pushes.db, runId, 'ada');
    await report();
    expect(told.map(({ body }) => body['state'])).toEqual(['error']);
    await resumeRun(pushes.db, runId, { by: 'ada', request: null, rerun: [] });
    await report();
    expect(told.map(({ body }) => body['state'])).toEqual(['error', 'pending']);
    // Nothing else to say: neither the label nor a repeated state is sent.
    await pushes.db.update(runs).set({ note: 'x', status: 'queued' }).where(eq(runs.id, runId));
    await setWaiting(pushes.db, runId, 'running', null);
    await report();
    await setWaiting(pushes.db, runId, 'waiting', 'a slot');
    await report();
    expect(told.map(({ body }) => body['description'])).toEqual(['Cancelled', 'Waiting to start', 'Running']);
  });

  test('is not told of what a person submitted, or of a project without a remote', async () => {
    const mine = await pushed({ person: true });
    const local = await pushed({ remoteUrl: null });
    expect([await statusOf(mine.runId), await statusOf(local.runId)]).toEqual([undefined, undefined]);
  });

  test.each([
    [401, /127\.0\.0\.1 answered 401: the token in GIT_127_0_0_1 may not write/],
    [403, /may not write commit statuses/],
    [404, /no such repository or commit/],
    [422, /answered 422/],
    [302, /answered 302/],
  ])('that answers %i is not asked again for this state, but for the next', async (status, failure) => {
    answer = (response) => response.writeHead(status, { location: 'https://127.0.0.1/elsewhere' }).end('<hostile>');
    const { runId } = await pushed();
    await report();
    await due(runId);
    await report();
    expect(told).toHaveLength(1);
    expect((await statusOf(runId))?.failure).toMatch(failure);
    expect((await statusOf(runId))?.failure).not.toContain('hostile');
    answer = (response) => response.writeHead(201).end();
    await finish(runId, 'succeeded');
    await report();
    expect(told).toHaveLength(2);
    expect(await statusOf(runId)).toMatchObject({ failure: null, sent: 2 });
  });

  test.each([[429], [500], [503]])(
    'that answers %i is asked again, later each time, and given up at last',
    async (status) => {
      answer = (response) => response.writeHead(status, { 'retry-after': '30' }).end();
      const { runId } = await pushed();
      const delays = [];
      for (let n = 0; n < 12; n += 1) {
        await report();
        delays.push(Math.round(((await statusOf(runId))!.nextAttemptAt.getTime() - Date.now()) / 1000));
        await due(runId);
      }
      expect(told).toHaveLength(10);
      expect(delays[0]).toBeGreaterThanOrEqual(28);
      expect(delays[6]).toBeGreaterThan(200);
      expect(Math.max(...delays)).toBeLessThanOrEqual(900);
    },
  );

  test('that is away or cuts the connection does not hold up the run, and hears the newest state when it is back', async () => {
    answer = (response) => void response.socket?.destroy();
    const { runId } = await pushed();
    await report();
    expect(await statusOf(runId)).toMatchObject({ sent: 0, failure: 'The host did not answer.' });
    await finish(runId, 'succeeded');
    answer = (response) => response.writeHead(201).end();
    await report();
    expect(told.at(-1)?.body['state']).toBe('success');
    expect(await statusOf(runId)).toMatchObject({ sent: 2, attempts: 1 });
  });

  test('that is slow is told by one at a time, and a state that changes meanwhile is told after', async () => {
    const slow = Promise.withResolvers<void>();
    answer = (response, body) => {
      if (body['state'] !== 'pending') return void response.writeHead(201).end();
      void slow.promise.then(() => response.writeHead(201).end());
    };
    const { runId } = await pushed();
    const first = report();
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await finish(runId, 'succeeded');
    await report();
    expect(told).toHaveLength(1);
    slow.resolve();
    await first;
    await report();
    expect(told.map(({ body }) => body['state'])).toEqual(['pending', 'success']);
    expect(await statusOf(runId)).toMatchObject({ sent: 2, leaseExpiresAt: null });
  });

  test('of GitLab that has this pending state already is content', async () => {
    answer = (response) =>
      response.writeHead(400).end('{"message":"Cannot transition status via :enqueue from :pending"}');
    const { runId } = await pushed({ hostKind: 'gitlab' });
    await report();
    expect(await statusOf(runId)).toMatchObject({ sent: 1, failure: null });
  });

  test('that sends without end is cut off', async () => {
    answer = (response) => {
      response.writeHead(201);
      const timer = setInterval(() => response.write('x'.repeat(65_536)), 1);
      response.on('close', () => clearInterval(timer));
    };
    const { runId } = await pushed();
    await report();
    expect(await statusOf(runId)).toMatchObject({ sent: 1 });
  });

  test('is not asked without a token, or with a key that is for ssh', async () => {
    const none = await pushed({ secret: null });
    const ssh = await pushed({ secret: '-----BEGIN OPENSSH PRIVATE KEY-----\nx\n' });
    await report();
    expect(told).toEqual([]);
    for (const { runId } of [none, ssh]) expect((await statusOf(runId))?.failure).toContain('GIT_127_0_0_1');
  });

  test('inside is refused, whatever its address looks like', async () => {
    const { runId, project } = await pushed({ hostKind: 'gitea' });
    await report({ hosts: { allowPrivateRemotes: false, certificateFile: null } });
    expect((await statusOf(runId))?.failure).toContain('private, loopback or reserved');
    await pushes.db
      .update(projects)
      .set({ remoteUrl: 'https://2130706433/ada/digits' })
      .where(eq(projects.id, project.id));
    await finish(runId, 'succeeded');
    await report({ hosts: { allowPrivateRemotes: false, certificateFile: null } });
    expect((await statusOf(runId))?.failure).toContain('private, loopback or reserved');
    expect(told).toEqual([]);
  });

  test('with a certificate that nobody signed is not told', async () => {
    const { runId } = await pushed();
    await report({ hosts: { allowPrivateRemotes: true, certificateFile: null } });
    expect(told).toEqual([]);
    expect((await statusOf(runId))?.failure).toBe('The host did not answer.');
  });
});
