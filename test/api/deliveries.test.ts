import { createHmac, randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Delivery } from '#contract/deliveries.ts';
import { deliveries } from '#db/schema/deliveries.ts';
import { createHooked, deliver, pathOf, pushOf, sha, signedHeaders, type Source, zeros } from './deliveries.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

const sources: Source[] = ['github', 'gitlab', 'gitlab-token', 'gitea', 'forgejo', 'generic'];
const refused = { status: 401, code: 'unauthenticated' };
const kept = (projectId: string) => api.db.select().from(deliveries).where(eq(deliveries.projectId, projectId));

test.each(sources)('a push of %s is taken in and waits for its commit to be read', async (source) => {
  const { id, name, secret } = await createHooked(api);
  const answer = await deliver(api, source, name, secret, pushOf(sha(1), 'refs/heads/dev', sha(0)), { id: 'one' });
  expect(answer.status).toBe(202);
  expect(answer.body).toMatchObject({ outcome: 'accepted', run: null, reason: null });
  expect(await kept(id)).toMatchObject([
    { id: answer.body.delivery, deliveryId: 'one', branch: 'dev', before: sha(0), commit: sha(1), outcome: 'accepted' },
  ]);
});

test.each([
  ['a deleted branch', pushOf(zeros, 'refs/heads/dev', sha(1)), 'deleted'],
  ['a tag', pushOf(sha(1), 'refs/tags/v1'), 'Only branches'],
])('%s is recorded as ignored with the reason', async (_title, payload, reason) => {
  const { id, name, secret } = await createHooked(api);
  for (const source of ['github', 'gitea', 'gitlab', 'generic'] as const) {
    const answer = await deliver(api, source, name, secret, payload);
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ outcome: 'ignored', reason: expect.stringContaining(reason) });
  }
  expect(await kept(id)).toHaveLength(4);
});

test('a ping is answered and recorded; an event that is no push is answered only', async () => {
  const { id, name, secret } = await createHooked(api);
  const ping = await deliver(api, 'github', name, secret, { zen: 'x', hook_id: 1 }, { event: 'ping' });
  const issue = await deliver(api, 'github', name, secret, { action: 'opened' }, { event: 'issues' });
  const merge = await deliver(api, 'gitlab', name, secret, { object_kind: 'mr' }, { event: 'Merge Request Hook' });
  const own = await deliver(api, 'generic', name, secret, { type: 'ping' });
  expect([ping, issue, merge, own].map(({ status, body }) => [status, body.outcome])).toEqual(
    Array.from({ length: 4 }, () => [200, 'ignored']),
  );
  expect(issue.body.delivery).toBeNull();
  expect((await kept(id)).map((row) => row.source)).toEqual(['github', 'generic']);
});

test('fifty equal deliveries at once are one, and each is answered the same', async () => {
  const { id, name, secret } = await createHooked(api);
  const wanted = { id: randomUUID() };
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => deliver(api, 'github', name, secret, pushOf(sha(2)), wanted)),
  );
  expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([202]));
  expect(await kept(id)).toHaveLength(1);
});

test('three thousand deliveries of which a third are doubled are two thousand', async () => {
  const { id, name, secret } = await createHooked(api);
  const ids = Array.from({ length: 2000 }, (_, n) => `d${n}`);
  const sent = [...ids, ...ids.slice(0, 1000)].toSorted((a, b) => (a + b).length % 3 || a.localeCompare(b));
  const answers = await Promise.all(
    sent.map((each) => deliver(api, 'gitea', name, secret, pushOf(sha(Number(each.slice(1)))), { id: each })),
  );
  expect(answers.every((answer) => answer.status === 202)).toBe(true);
  expect(await kept(id)).toHaveLength(2000);
});

test('an id that comes again with something else is refused, and the first counts', async () => {
  const { id, name, secret } = await createHooked(api);
  await deliver(api, 'github', name, secret, pushOf(sha(1)), { id: 'same' });
  const second = await deliver(api, 'github', name, secret, pushOf(sha(2)), { id: 'same' });
  expect(refusal(second)).toEqual({ status: 409, code: 'conflict' });
  expect(await kept(id)).toMatchObject([{ commit: sha(1) }]);
});

test('the same id of two projects, or of two hosts, is two deliveries', async () => {
  const [a, b] = [await createHooked(api), await createHooked(api)];
  const first = await deliver(api, 'github', a.name, a.secret, pushOf(sha(1)), { id: 'same' });
  const second = await deliver(api, 'github', b.name, b.secret, pushOf(sha(1)), { id: 'same' });
  const third = await deliver(api, 'gitea', a.name, a.secret, pushOf(sha(1)), { id: 'same' });
  expect(new Set([first, second, third].map((answer) => answer.body.delivery)).size).toBe(3);
});

test.each(sources)(
  'a delivery of %s is refused with any other secret, body or no signature, and nothing is kept',
  async (source) => {
    const [mine, other] = [await createHooked(api), await createHooked(api)];
    const body = Buffer.from(JSON.stringify(pushOf(sha(1))));
    const changed = Buffer.from(body);
    changed[changed.length - 2] = (changed.at(-2) ?? 0) ^ 1;
    const unsigned = Object.fromEntries(
      Object.entries(signedHeaders(source, mine.secret, body)).filter(([name]) => !/signature|token/.test(name)),
    );
    const answers = [
      await deliver(api, source, mine.name, other.secret, body),
      await deliver(api, source, mine.name, '', body),
      await deliver(
        api,
        source,
        mine.name,
        mine.secret.replace(/^whsec_./, (start) => `whsec_${start.endsWith('A') ? 'B' : 'A'}`),
        body,
      ),
      await api.call('POST', pathOf(source, mine.name), { token: null, bytes: body, headers: unsigned }),
      await api.call('POST', pathOf(source, mine.name), { bytes: body, headers: unsigned }),
      ...(source === 'gitlab-token'
        ? []
        : [await deliver(api, source, mine.name, mine.secret, body, { sent: changed })]),
    ];
    // The address has failed often in this file, which is answered in its own way.
    for (const answer of answers) expect([401, 429]).toContain(answer.status);
    expect(await kept(mine.id)).toEqual([]);
  },
);

test('a project that does not exist, or has no webhook, is answered as a wrong signature is', async () => {
  const own = await createTestApi();
  try {
    const hooked = await createHooked(own);
    const bare = await own.project();
    const shapes = [];
    for (const name of [hooked.name, bare.name, 'nowhere', randomUUID()]) {
      const { status, body } = await deliver(own, 'github', name, 'whsec_wrong', pushOf(sha(1)));
      const { requestId: _id, ...problem } = body as unknown as Record<string, unknown>;
      shapes.push(JSON.stringify([status, problem]));
    }
    expect(new Set(shapes).size).toBe(1);
    expect(shapes[0]).toContain('unauthenticated');
    expect(shapes[0]).not.toContain(hooked.secret);
  } finally {
    await own.close();
  }
});

test('a wrong algorithm, length or place of the signature is no signature', async () => {
  const own = await createTestApi();
  try {
    const { id, name, secret } = await createHooked(own);
    const body = Buffer.from(JSON.stringify(pushOf(sha(1))));
    const hex = createHmac('sha256', secret).update(body).digest('hex');
    const sha1 = createHmac('sha1', secret).update(body).digest('hex');
    const headers: Record<string, string>[] = [
      { 'x-hub-signature-256': hex },
      { 'x-hub-signature-256': `sha256=${hex.slice(0, 32)}` },
      { 'x-hub-signature-256': `sha256=${hex}${hex}` },
      { 'x-hub-signature-256': `sha256=${hex.toUpperCase()}` },
      { 'x-hub-signature-256': `sha256=${hex}, sha256=${hex}` },
      { 'x-hub-signature-256': `sha1=${sha1}` },
      { 'x-hub-signature': `sha1=${sha1}` },
      { 'x-gitea-signature': hex },
    ];
    for (const one of headers) {
      const all = { 'content-type': 'application/json', 'x-github-event': 'push', 'x-github-delivery': 'a', ...one };
      expect(
        refusal(await own.call('POST', `/hooks/github/${name}`, { token: null, bytes: body, headers: all })),
      ).toEqual(refused);
    }
    expect(await own.db.select().from(deliveries).where(eq(deliveries.projectId, id))).toEqual([]);
  } finally {
    await own.close();
  }
});

test('a wrong newer signature of GitLab is not rescued by the right older token', async () => {
  const { name, secret } = await createHooked(api);
  const headers = { 'x-gitlab-token': secret, 'webhook-signature': 'v1,AAAA' };
  const answer = await deliver(api, 'gitlab', name, secret, pushOf(sha(1)), { headers });
  expect([401, 429]).toContain(answer.status);
});

test('a signed timestamp is good for five minutes; one of several signatures suffices', async () => {
  const own = await createTestApi();
  try {
    const { name, secret } = await createHooked(own);
    const now = Math.floor(Date.now() / 1000);
    for (const source of ['generic', 'gitlab'] as const) {
      for (const timestamp of [now - 400, now + 400, Number.NaN]) {
        expect(refusal(await deliver(own, source, name, secret, pushOf(sha(1)), { timestamp }))).toEqual(refused);
      }
      expect((await deliver(own, source, name, secret, pushOf(sha(1)), { timestamp: now - 200 })).status).toBe(202);
    }
    const body = Buffer.from(JSON.stringify(pushOf(sha(1))));
    const headers = signedHeaders('generic', secret, body);
    const older = { ...headers, 'webhook-signature': `v1,AAAA v1a,BBBB ${headers['webhook-signature']}` };
    expect(
      (await own.call('POST', `/hooks/generic/${name}`, { token: null, bytes: body, headers: older })).status,
    ).toBe(202);
    const moved = { ...headers, 'webhook-id': 'another' };
    expect(
      refusal(await own.call('POST', `/hooks/generic/${name}`, { token: null, bytes: body, headers: moved })),
    ).toEqual(refused);
  } finally {
    await own.close();
  }
});

test('older GitLab sends no id: the same body is the same delivery', async () => {
  const { id, name, secret } = await createHooked(api);
  const body = Buffer.from(JSON.stringify(pushOf(sha(1))));
  const headers = { 'content-type': 'application/json', 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': secret };
  const send = () => api.call('POST', `/hooks/gitlab/${name}`, { token: null, bytes: body, headers });
  const answers = await Promise.all([send(), send(), send()]);
  expect(answers.map((answer) => answer.status)).toEqual([202, 202, 202]);
  expect(await kept(id)).toHaveLength(1);
});

test('after a rotation both secrets are good, after another the first is not, and after removal none is', async () => {
  const own = await createTestApi();
  try {
    const { name, secret: first } = await createHooked(own);
    const rotate = async () =>
      (await own.call<{ secret: string }>('POST', `/projects/${name}/hook/rotate`)).body.secret;
    const status = async (secret: string) => (await deliver(own, 'gitea', name, secret, pushOf(sha(1)))).status;
    const second = await rotate();
    expect([await status(first), await status(second)]).toEqual([202, 202]);
    const third = await rotate();
    expect([await status(first), await status(second), await status(third)]).toEqual([401, 202, 202]);
    expect((await own.call('DELETE', `/projects/${name}/hook`)).status).toBe(204);
    expect([await status(second), await status(third)]).toEqual([401, 401]);
  } finally {
    await own.close();
  }
});

test('a body over 5 MiB is refused, and one below it is read', async () => {
  const { name, secret } = await createHooked(api);
  const large = (mib: number) => ({ ...pushOf(sha(1)), commits: ['x'.repeat(mib * 1024 * 1024)] });
  expect(refusal(await deliver(api, 'github', name, secret, large(5)))).toEqual({
    status: 413,
    code: 'payload-too-large',
  });
  expect((await deliver(api, 'github', name, secret, large(4))).status).toBe(202);
});

test.each([
  ['no JSON', Buffer.from('{"ref":')],
  ['form fields', Buffer.from('payload=%7B%7D')],
  ['nothing', Buffer.alloc(0)],
  ['a compressed body', Buffer.from([0x1f, 0x8b, 8, 0])],
  ['null', Buffer.from('null')],
  ['a list', Buffer.from('[]')],
  ['deep nesting without a push', Buffer.from('['.repeat(100_000) + ']'.repeat(100_000))],
  ['no ref', Buffer.from('{"after":"a"}')],
  ['a short commit', Buffer.from('{"ref":"refs/heads/main","after":"abc","before":null}')],
  ['a ref that is a map', Buffer.from(`{"ref":{"a":1},"after":"${sha(1)}"}`)],
])('%s, signed, is refused as invalid', async (_title, body) => {
  const { id, name, secret } = await createHooked(api);
  for (const source of ['github', 'generic'] as const) {
    expect(refusal(await deliver(api, source, name, secret, body))).toEqual({ status: 400, code: 'invalid-request' });
  }
  expect(await kept(id)).toEqual([]);
});

test('keys that name prototypes and deep nesting beside a push change nothing', async () => {
  const { id, name, secret } = await createHooked(api);
  const deep = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`;
  const body = Buffer.from(
    `{"__proto__":{"ref":"refs/heads/evil","admin":true},"constructor":{"prototype":{"x":1}},"ref":"refs/heads/main","after":"${sha(1)}","extra":${deep}}`,
  );
  expect((await deliver(api, 'github', name, secret, body)).status).toBe(202);
  expect(await kept(id)).toMatchObject([{ branch: 'main', commit: sha(1) }]);
  expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
});

test.each([
  ['refs/heads/../x'],
  ['refs/heads/a\nb'],
  ['refs/heads/a\u0000b'],
  ['refs/heads/-x'],
  ['refs/heads/a..b'],
  ['refs/heads/a b'],
  ['refs/heads/x.lock'],
  ['refs/heads/@{-1}'],
  ['refs/heads/'],
  ['refs/notes/commits'],
  ['--upload-pack=x'],
  [`refs/heads/${'x'.repeat(280)}`],
])('the reference %j is refused', async (ref) => {
  const { id, name, secret } = await createHooked(api);
  const answer = await deliver(api, 'github', name, secret, pushOf(sha(1), ref));
  expect(refusal(answer)).toEqual({ status: 422, code: 'invalid-reference' });
  expect(await kept(id)).toEqual([]);
});

test('half a surrogate pair is refused, and names in any script are taken', async () => {
  const { id, name, secret } = await createHooked(api);
  const half = Buffer.from(`{"ref":"refs/heads/\\ud800","after":"${sha(1)}"}`);
  expect(refusal(await deliver(api, 'github', name, secret, half))).toEqual({ status: 400, code: 'invalid-request' });
  for (const branch of ['フィーチャー/新', 'naïve-🎈', "a'b;drop table deliveries"]) {
    const ref = `refs/heads/${branch}`.replaceAll(' ', '_');
    expect((await deliver(api, 'github', name, secret, pushOf(sha(1), ref))).status).toBe(202);
  }
  expect((await kept(id)).map((row) => row.branch)).toContain('フィーチャー/新');
});

test('a delivery without an id, or with a strange one, is refused', async () => {
  const { name, secret } = await createHooked(api);
  for (const id of ['', 'x'.repeat(201), 'with space']) {
    const answer = await deliver(api, 'github', name, secret, pushOf(sha(1)), { id });
    expect(refusal(answer)).toEqual({ status: 400, code: 'invalid-request' });
  }
});

test('another content type is refused before anything is read', async () => {
  const { name, secret } = await createHooked(api);
  for (const type of [
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/octet-stream',
    'application/json\t;x',
  ]) {
    const answer = await deliver(api, 'github', name, secret, pushOf(sha(1)), { headers: { 'content-type': type } });
    expect([202, 415]).toContain(answer.status);
    if (!type.startsWith('application/json')) expect(answer.status).toBe(415);
  }
});

test('many refused deliveries of one address are answered as too many, and a signed one is still taken', async () => {
  const own = await createTestApi();
  try {
    const { name, secret } = await createHooked(own);
    let last = 401;
    for (let n = 0; n < 70 && last === 401; n += 1) {
      last = (await deliver(own, 'github', name, 'whsec_wrong', pushOf(sha(1)))).status;
    }
    expect(last).toBe(429);
    expect((await deliver(own, 'github', name, secret, pushOf(sha(1)))).status).toBe(202);
  } finally {
    await own.close();
  }
});

test('what was delivered is listed newest first, page by page, to who may read the project', async () => {
  const { name, secret, id } = await createHooked(api);
  for (let n = 0; n < 5; n += 1) await deliver(api, 'github', name, secret, pushOf(sha(n)));
  const page = (query: string) =>
    api.call<{ items: Delivery[]; nextCursor: string | null }>('GET', `/projects/${name}/deliveries?${query}`);
  const first = await page('limit=3');
  expect(first.body.items.map((item) => item.commit)).toEqual([sha(4), sha(3), sha(2)]);
  const second = await page(`limit=3&cursor=${first.body.nextCursor}`);
  expect(second.body.items.map((item) => item.commit)).toEqual([sha(1), sha(0)]);
  expect(second.body.nextCursor).toBeNull();
  const elsewhere = await api.project();
  const token = await api.token({ role: 'ml', projectId: elsewhere.id });
  expect(refusal(await api.call('GET', `/projects/${id}/deliveries`, { token }))).toMatchObject({ status: 404 });
});
