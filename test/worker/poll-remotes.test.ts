import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hookSecrets } from '#db/schema/hooks.ts';
import { remotePolls } from '#db/schema/deliveries.ts';
import { projects } from '#db/schema/projects.ts';
import { runs } from '#db/schema/runs.ts';
import { changeProject } from '#db/projects.ts';
import { projectConfig } from '#test/api/fixtures.ts';
import { hasOpenssl } from '#test/git/https-server.ts';
import { removeTemporary } from '#test/git/repositories.ts';
import { pollRemotes } from '#worker/pushes/poll-remotes.ts';
import { createPushes, type Pushes } from './pushes.ts';

const yaml = 'stages: { train: { command: python train.py } }\ntriggers: { push: ["**"] }\n';

describe.skipIf(!hasOpenssl())('polling', () => {
  let pushes: Pushes;
  beforeAll(async () => {
    pushes = await createPushes();
  });
  afterEach(async () => {
    pushes.server.answer = null;
    pushes.server.requests.length = 0;
    await pushes.db.update(projects).set({ pollSeconds: 0 });
  });
  afterAll(async () => {
    await pushes.close();
    await removeTemporary();
  });

  const poll = () => pollRemotes(pushes.deps, new AbortController().signal);
  const due = (projectId: string) =>
    pushes.db
      .update(remotePolls)
      .set({ nextAt: sql`clock_timestamp()`, polledAt: sql`clock_timestamp() - interval '2 hours'` })
      .where(eq(remotePolls.projectId, projectId));
  const pollOf = async (projectId: string) => {
    const [row] = await pushes.db.select().from(remotePolls).where(eq(remotePolls.projectId, projectId));
    return row;
  };

  test('remembers what it sees first, and announces what moves after that, once', async () => {
    const project = await pushes.project({ pollSeconds: 60 });
    const first = await pushes.commit(yaml, 'first');
    await poll();
    expect(await pushes.deliveriesOf(project.id)).toEqual([]);
    expect((await pollOf(project.id))?.heads).toEqual({ main: first });
    const second = await pushes.commit(null, 'second', { 'a.txt': '2' });
    pushes.repository.git(['branch', 'topic/x']);
    await due(project.id);
    await poll();
    await due(project.id);
    await poll();
    expect(await pushes.deliveriesOf(project.id)).toMatchObject([
      { source: 'poll', branch: 'main', before: first, commit: second, outcome: 'accepted' },
      { source: 'poll', branch: 'topic/x', before: null, commit: second, outcome: 'accepted' },
    ]);
    await pushes.settleAll(project.id);
    expect((await pushes.runsOf(project.id)).map((run) => run.branch)).toEqual(['main', 'topic/x']);
    pushes.repository.git(['branch', '-D', 'topic/x']);
  });

  test('announces no commit that a webhook announced, before or after', async () => {
    const project = await pushes.project({ pollSeconds: 60 });
    await poll();
    const byHook = await pushes.commit(yaml, 'by hook', { 'a.txt': '3' });
    await pushes.announce(project.id, byHook);
    await due(project.id);
    await poll();
    expect(await pushes.deliveriesOf(project.id)).toMatchObject([{ source: 'github', commit: byHook }]);
    const byPoll = await pushes.commit(yaml, 'by poll', { 'a.txt': '4' });
    await due(project.id);
    await poll();
    await pushes.announce(project.id, byPoll);
    await pushes.settleAll(project.id);
    expect((await pushes.runsOf(project.id)).map((run) => run.commit)).toEqual([byHook, byPoll]);
  });

  test('happens by default where there is a webhook or the newest run starts by pushes, and nowhere else', async () => {
    const [hooked, asked, quiet, off] = [
      await pushes.project(),
      await pushes.project(),
      await pushes.project(),
      await pushes.project({ pollSeconds: 0 }),
    ];
    for (const { id: projectId } of [hooked, off])
      await pushes.db.insert(hookSecrets).values({ projectId, version: 1, sealed: Buffer.from('x'), createdBy: 'ada' });
    for (const [{ id: projectId }, push] of [
      [asked, ['main']],
      [quiet, []],
    ] as const) {
      await pushes.db.insert(runs).values({
        id: crypto.randomUUID(),
        projectId,
        number: 1,
        owner: 'ada',
        ref: 'main',
        asOf: new Date().toISOString(),
        overrides: {},
        config: projectConfig({ triggers: { push: [...push], paths: [], schedule: null } }),
      });
    }
    await poll();
    const polled = await pushes.db.select({ id: remotePolls.projectId }).from(remotePolls);
    expect(polled.map((row) => row.id)).toEqual(expect.arrayContaining([hooked.id, asked.id]));
    expect(polled.map((row) => row.id)).not.toContain(quiet.id);
    expect(polled.map((row) => row.id)).not.toContain(off.id);
  });

  test('waits while a webhook delivers, but not for ever, and spreads over time', async () => {
    const project = await pushes.project({ pollSeconds: 300 });
    await poll();
    const nextMs = ((await pollOf(project.id))?.nextAt.getTime() ?? 0) - Date.now();
    expect(nextMs).toBeGreaterThan(240_000);
    expect(nextMs).toBeLessThan(335_000);
    await pushes.announce(project.id, 'c'.repeat(40));
    const set = (ago: string) =>
      pushes.db
        .update(remotePolls)
        .set({ nextAt: sql`clock_timestamp()`, polledAt: sql`clock_timestamp() - ${ago}::interval` })
        .where(eq(remotePolls.projectId, project.id));
    await set('10 minutes');
    pushes.server.requests.length = 0;
    await poll();
    expect(pushes.server.requests).toEqual([]);
    await set('2 hours');
    await poll();
    expect(pushes.server.requests.length).toBeGreaterThan(0);
  });

  test('is put off, twice as long each time, while the remote fails, and says why', async () => {
    const project = await pushes.project({ pollSeconds: 60 });
    pushes.server.answer = (_request, response) => {
      response.writeHead(404).end('hostile words');
      return true;
    };
    const delays = [];
    for (let n = 0; n < 3; n += 1) {
      await poll();
      const row = await pollOf(project.id);
      delays.push(Math.round(((row?.nextAt.getTime() ?? 0) - Date.now()) / 1000));
      expect(row?.failure).toContain('no such repository');
      expect(row?.failures).toBe(n + 1);
      await due(project.id);
    }
    expect(delays[0]).toBeGreaterThanOrEqual(50);
    expect(delays[1]).toBeGreaterThan(delays[0] ?? 0);
    expect(delays[2]).toBeGreaterThan(delays[1] ?? 0);
    pushes.server.answer = null;
    await poll();
    expect(await pollOf(project.id)).toMatchObject({ failures: 0, failure: null });
  });

  test('refuses a remote inside, as a fetch does', async () => {
    const project = await pushes.project({ pollSeconds: 60, remoteUrl: 'https://169.254.169.254/latest/meta.git' });
    const { openMirrors } = await import('#test/git/repositories.ts');
    const mirrors = await openMirrors();
    await pollRemotes({ ...pushes.deps, mirrors }, new AbortController().signal);
    expect((await pollOf(project.id))?.failure).toContain('private, loopback or reserved');
  });

  test('is done by one process at a time', async () => {
    await pushes.project({ pollSeconds: 60 });
    let looks = 0;
    const held = Promise.withResolvers<Map<string, string>>();
    const mirrors = { remoteHeads: async () => ((looks += 1), await held.promise) };
    const first = pollRemotes({ ...pushes.deps, mirrors }, new AbortController().signal);
    while (looks === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await pollRemotes({ ...pushes.deps, mirrors }, new AbortController().signal);
    expect(looks).toBe(1);
    held.resolve(new Map());
    await first;
  });

  test('the heads of another remote are no pushes', async () => {
    const project = await pushes.project({ pollSeconds: 60 });
    await poll();
    await changeProject(pushes.db, project.id, { remoteUrl: pushes.url }, 'ada');
    expect(await pollOf(project.id)).toBeUndefined();
    await pushes.commit(yaml, 'elsewhere', { 'a.txt': '9' });
    await poll();
    expect(await pushes.deliveriesOf(project.id)).toEqual([]);
  });
});
