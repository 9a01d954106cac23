import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunSummary, Step } from '#contract/runs.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { attempts, logChunks, steps } from '#db/schema/steps.ts';
import { createClient } from '#sdk/client.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertAttempt, insertLog, insertRun, insertStep } from './fixtures.ts';

let api: TestApi;
let project: { id: string; name: string };
let url = '';

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('logs');
  url = await api.app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => api.close());

const client = () => createClient({ url, token: api.tokens.ml });

async function finish(id: string, status: 'succeeded' | 'failed' = 'succeeded'): Promise<void> {
  await api.db.update(steps).set({ status, fence: 1 }).where(eq(steps.runId, id));
  await api.db.update(attempts).set({ status: 'succeeded' }).where(eq(attempts.runId, id));
  await api.db.update(executions).set({ status, dispatch: 'closed' }).where(eq(executions.runId, id));
  await api.db.update(runs).set({ status, finishedAt: sql`clock_timestamp()` }).where(eq(runs.id, id));
}

test('logs come as text, from blobs and from the open stretch, from any byte', async () => {
  const id = await insertRun(api, project.id);
  await insertLog(api, id, 'one\n', { stored: true });
  await insertLog(api, id, 'two\n', { stored: true, offsetBytes: 4 });
  await insertLog(api, id, 'three\n', { offsetBytes: 8 });
  const read = async (query: string) => (await api.call('GET', `/runs/${id}/logs?step=train${query}`)).text;
  expect(await read('')).toBe('one\ntwo\nthree\n');
  expect(await read('&from=5')).toBe('wo\nthree\n');
  expect(await read('&from=-6')).toBe('three\n');
  expect(await read('&from=-600')).toBe('one\ntwo\nthree\n');
  expect(await read('&from=99')).toBe('');
});

test('without a step every stage is shown under its name, in its newest attempt', async () => {
  const id = await insertRun(api, project.id);
  await insertStep(api, id, 'evaluate', 'succeeded');
  await insertAttempt(api, id, 'train', 2, 'succeeded');
  await insertLog(api, id, 'old\n');
  await insertLog(api, id, 'new\n', { fence: 2 });
  await insertLog(api, id, 'scores\n', { step: 'evaluate' });
  await insertLog(api, id, 'installed\n', { step: 'build-environment', fence: 0 });
  await api.db
    .insert(steps)
    .values({ runId: id, execution: 1, name: 'build-environment', kind: 'platform', position: 1 });
  const { text } = await api.call('GET', `/runs/${id}/logs`);
  expect(text).toBe(
    '==> build-environment <==\ninstalled\n\n==> evaluate <==\nscores\n\n==> train (attempt 2) <==\nnew\n',
  );
  expect((await api.call('GET', `/runs/${id}/logs?attempt=1&step=train`)).text).toBe('old\n');
});

test('what a log can not be read by is refused', async () => {
  const id = await insertRun(api, project.id);
  expect(refusal(await api.call('GET', `/runs/${id}/logs?step=none`))).toEqual({ status: 404, code: 'not-found' });
  expect(refusal(await api.call('GET', `/runs/${id}/logs?step=train&attempt=7`))).toEqual({
    status: 404,
    code: 'not-found',
  });
  expect(refusal(await api.call('GET', `/runs/${id}/logs?from=3`))).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal(await api.call('GET', `/runs/${id}/logs/events?step=none`))).toEqual({
    status: 404,
    code: 'not-found',
  });
});

test('live logs arrive while they are written, keep characters whole, and end with the run', async () => {
  const id = await insertRun(api, project.id, { status: 'running' });
  const euro = Buffer.from('€');
  await insertLog(api, id, Buffer.concat([Buffer.from('a '), euro.subarray(0, 1)]));
  const received: string[] = [];
  const done = (async () => {
    for await (const event of client().logs.follow(id)) received.push(`${event.offsetBytes}:${event.text}`);
  })();
  await expect.poll(() => received.length).toBe(1);
  await api.db
    .update(logChunks)
    .set({ inline: Buffer.concat([Buffer.from('a '), euro, Buffer.from(' b')]), sizeBytes: 7 })
    .where(eq(logChunks.runId, id));
  await expect.poll(() => received.length).toBe(2);
  await insertLog(api, id, 'last\n', { offsetBytes: 7 });
  await finish(id);
  await done;
  expect(received).toEqual(['0:a ', '2:€ b', '7:last\n']);
});

test('bytes that are no text are passed on and never stop the stream', async () => {
  const id = await insertRun(api, project.id);
  await insertLog(api, id, Buffer.from([0xff, 0xfe, 0x61, 0xe2]));
  const texts: string[] = [];
  for await (const event of client().logs.follow(id, { step: 'train' })) texts.push(event.text);
  expect(texts.join('')).toBe('\ufffd\ufffda\ufffd');
});

test('Last-Event-ID resumes at the byte, and a step ends its own stream', async () => {
  const id = await insertRun(api, project.id, { status: 'running' });
  await insertLog(api, id, 'one\ntwo\n');
  await api.db.update(steps).set({ status: 'succeeded', fence: 1 }).where(eq(steps.runId, id));
  const path = `/runs/${id}/logs/events?step=train`;
  const whole = await api.call('GET', path);
  expect(whole.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  expect(whole.text).toContain('id: train:1:8\n');
  expect(whole.text).toContain('"text":"one\\ntwo\\n"');
  expect(whole.text).toMatch(/event: end\n/);
  const rest = await api.call('GET', path, { headers: { 'last-event-id': 'train:1:4' } });
  expect(rest.text).toContain('"offsetBytes":4,"text":"two\\n"');
  const junk = await api.call('GET', path, { headers: { 'last-event-id': "x:1:'; drop,train:1:1e9" } });
  expect(junk.text).toContain('"offsetBytes":0');
});

test('a dropped connection is taken up again where it broke', async () => {
  const id = await insertRun(api, project.id, { status: 'running' });
  await insertLog(api, id, 'first\n');
  let connections = 0;
  const cutting: typeof fetch = async (input, init) => {
    connections += 1;
    const cut = new AbortController();
    const response = await fetch(input, { ...init, signal: cut.signal });
    if (connections === 1) setTimeout(() => cut.abort(new TypeError('terminated')), 200);
    return response;
  };
  const texts: string[] = [];
  const done = (async () => {
    const { logs } = createClient({ url, token: api.tokens.ml, fetch: cutting });
    for await (const event of logs.follow(id)) texts.push(event.text);
  })();
  await expect.poll(() => connections, { timeout: 5000 }).toBe(2);
  await insertLog(api, id, 'second\n', { offsetBytes: 6 });
  await finish(id);
  await done;
  expect(texts).toEqual(['first\n', 'second\n']);
});

test('the status of a run and its steps is pushed until it is finished', async () => {
  const id = await insertRun(api, project.id, { status: 'running' });
  const seen: string[] = [];
  const done = (async () => {
    for await (const event of client().runs.watch(id)) {
      seen.push(event.kind === 'run' ? `run ${event.run.status}` : `${event.step.name} ${event.step.status}`);
    }
  })();
  await expect.poll(() => seen).toEqual(['train running', 'run running']);
  await finish(id, 'failed');
  await done;
  expect(seen).toEqual(['train running', 'run running', 'train failed', 'run failed']);
});

test('a reader that saw the newest state gets only the end', async () => {
  const id = await insertRun(api, project.id);
  const first = await api.call('GET', `/runs/${id}/events`);
  expect(events(first.text).map((event) => event.name)).toEqual(['step', 'run', 'end']);
  const [step, run] = events(first.text);
  expect((JSON.parse(step!.data) as Step).name).toBe('train');
  expect((JSON.parse(run!.data) as RunSummary).id).toBe(id);
  const again = await api.call('GET', `/runs/${id}/events`, { headers: { 'last-event-id': run!.id } });
  expect(events(again.text).map((event) => event.name)).toEqual(['end']);
});

function events(text: string): Array<{ name: string; id: string; data: string }> {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => ({
      name: /^event: (.*)$/m.exec(block)?.[1] ?? '',
      id: /^id: (.*)$/m.exec(block)?.[1] ?? '',
      data: /^data: (.*)$/m.exec(block)?.[1] ?? '',
    }));
}

test('stopping the server ends its event streams at once', async () => {
  const other = await createTestApi();
  const { id: projectId } = await other.project();
  const id = await insertRun(other, projectId, { status: 'running' });
  const at = await other.app.listen({ host: '127.0.0.1', port: 0 });
  const response = await fetch(`${at}/api/v1/runs/${id}/events`, {
    headers: { authorization: `Bearer ${other.tokens.ml}` },
  });
  const reader = response.body!.getReader();
  await reader.read();
  const closed = other.close().then(() => 'closed');
  for (let part = await reader.read(); !part.done; ) part = await reader.read();
  expect(await closed).toBe('closed');
});
