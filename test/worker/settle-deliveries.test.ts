import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { settleDelivery, takeDueDeliveries } from '#db/deliveries.ts';
import { deliveries } from '#db/schema/deliveries.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { hasOpenssl } from '#test/git/https-server.ts';
import { removeTemporary } from '#test/git/repositories.ts';
import { until } from '#test/support/stack.ts';
import { startSettlingDeliveries } from '#worker/pushes/settle-deliveries.ts';
import { createPushes, type Pushes } from './pushes.ts';

const yaml = (triggers: string) => `stages: { train: { command: python train.py } }\ntriggers: ${triggers}\n`;

// Without openssl there is no certificate, and the product speaks https only.
describe.skipIf(!hasOpenssl())('a delivery that was taken in', () => {
  let pushes: Pushes;
  beforeAll(async () => {
    pushes = await createPushes();
  });
  afterEach(() => {
    pushes.server.answer = null;
  });
  afterAll(async () => {
    await pushes.close();
    await removeTemporary();
  });

  const become = async (projectId: string, commit: string, more: Parameters<Pushes['announce']>[2] = {}) => {
    const id = await pushes.announce(projectId, commit, more);
    await pushes.settleAll(projectId);
    return await pushes.delivery(id);
  };

  test('becomes a queued run of its commit, which names it', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'));
    const delivery = await become(project.id, commit);
    expect(delivery).toMatchObject({ outcome: 'run', reason: null });
    const [run] = await pushes.runsOf(project.id);
    expect(run).toMatchObject({
      id: delivery.runId,
      number: 1,
      commit,
      branch: 'main',
      owner: 'ada',
      status: 'queued',
      trigger: { kind: 'push', branch: 'main', delivery: delivery.id },
    });
    const [execution] = await pushes.db.select().from(executions).where(eq(executions.runId, run!.id));
    expect(execution).toMatchObject({ n: 1, dispatch: 'queued' });
  });

  test.each([
    ['no triggers', 'stages: { train: { command: x } }\n', 'try', 'names no branches'],
    ['another branch', yaml('{ push: [release/*] }'), 'try', 'is none of triggers.push: release/*'],
    ['[skip ml] in the body of the message', yaml('{ push: [main] }'), 'try\n\nMore words. [Skip ML]', '[skip ml]'],
    ['triggers that are no map', yaml('[main]'), 'try', 'assay.yaml:2'],
    ['no YAML', 'a: [', 'try', 'assay.yaml:1'],
    ['a file that is too large', `# ${'x'.repeat(1100 * 1024)}\n`, 'try', 'make it smaller'],
  ])('is ignored with the reason: %s', async (_title, text, message, reason) => {
    const project = await pushes.project();
    const commit = await pushes.commit(text, message);
    expect(await become(project.id, commit)).toMatchObject({
      outcome: 'ignored',
      runId: null,
      reason: expect.stringContaining(reason),
    });
    expect(await pushes.runsOf(project.id)).toEqual([]);
  });

  test('a project file whose other parts are wrong starts a run, which says so where people look', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit('stages: { train: { comand: x } }\ntriggers: { push: ["**"], shedule: x }\n');
    expect(await become(project.id, commit)).toMatchObject({ outcome: 'run' });
  });

  test('without assay.yaml the default branch starts runs and others do not', async () => {
    const project = await pushes.project({ defaultBranch: 'trunk' });
    pushes.repository.git(['rm', '-q', '-f', 'assay.yaml']);
    const commit = await pushes.commit(null);
    expect(await become(project.id, commit, { branch: 'main' })).toMatchObject({ outcome: 'ignored' });
    expect(await become(project.id, commit, { branch: 'trunk' })).toMatchObject({ outcome: 'run' });
  });

  test('path filters look at what changed between before and after', async () => {
    const project = await pushes.project();
    const first = await pushes.commit(yaml('{ push: [main], paths: ["src/**", conf] }'), 'a', { 'src/a.py': '1' });
    const docs = await pushes.commit(null, 'b', { 'README.md': 'x' });
    const code = await pushes.commit(null, 'c', { 'src/deep/b.py': '2' });
    const conf = await pushes.commit(null, 'd', { 'conf/x.json': '{}' });
    const outcomes = [];
    for (const [before, after] of [
      [first, docs],
      [docs, code],
      [docs, conf],
      [null, docs],
    ] as const) {
      const { outcome, reason } = await become(project.id, after, { before });
      outcomes.push([outcome, reason?.slice(0, 30) ?? null]);
    }
    expect(outcomes).toEqual([
      ['ignored', 'None of the 1 changed files is'],
      ['run', null],
      ['run', null],
      ['run', null],
    ]);
  });

  test('a forced push, or a before that nobody has, counts as changed', async () => {
    const project = await pushes.project();
    await pushes.commit(yaml('{ push: [main], paths: [src] }'), 'base');
    const lost = await pushes.commit(null, 'to be replaced', { 'README.md': 'lost' });
    await pushes.mirrors.fetchRemote(project.id, pushes.url);
    pushes.repository.git(['reset', '-q', '--hard', 'HEAD~1']);
    const forced = await pushes.commit(null, 'instead', { 'README.md': 'y' });
    expect(await become(project.id, forced, { before: lost })).toMatchObject({ outcome: 'run' });
    const next = await pushes.commit(null, 'next', { 'README.md': 'z' });
    expect(await become(project.id, next, { before: 'e'.repeat(40) })).toMatchObject({ outcome: 'run' });
  });

  test('a superseded commit is a run of its own', async () => {
    const project = await pushes.project();
    const older = await pushes.commit(yaml('{ push: ["*"] }'), 'older');
    const newer = await pushes.commit(null, 'newer', { 'a.txt': 'a' });
    expect(await become(project.id, newer)).toMatchObject({ outcome: 'run' });
    expect(await become(project.id, older)).toMatchObject({ outcome: 'run' });
    expect((await pushes.runsOf(project.id)).map((run) => run.commit)).toEqual([newer, older]);
  });

  test('one commit of one branch is one run, whoever announces it and however often', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: ["**"] }'), 'once');
    await Promise.all([
      ...Array.from({ length: 20 }, (_, n) => pushes.announce(project.id, commit, { id: `r${n}` })),
      pushes.announce(project.id, commit, { source: 'gitlab' }),
      pushes.announce(project.id, commit, { source: 'poll' }),
      pushes.announce(project.id, commit, { branch: 'other/branch' }),
    ]);
    // Two processes settle at once.
    await Promise.all([pushes.settleAll(project.id), pushes.settleAll(project.id)]);
    const branches = (await pushes.runsOf(project.id)).map((run) => run.branch);
    expect([branches.length, new Set(branches)]).toEqual([2, new Set(['main', 'other/branch'])]);
    const rows = await pushes.deliveriesOf(project.id);
    expect(rows.filter((row) => row.outcome === 'run')).toHaveLength(2);
    expect(rows.filter((row) => row.reason?.includes(`is the run ${project.name}/`))).toHaveLength(21);
  });

  test('a run that a person submitted does not count', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'mine');
    await pushes.db.update(projects).set({ nextRunNumber: 2 }).where(eq(projects.id, project.id));
    await pushes.db.insert(runs).values({
      id: crypto.randomUUID(),
      projectId: project.id,
      number: 1,
      owner: 'ada',
      ref: 'main',
      branch: 'main',
      commit,
      asOf: new Date().toISOString(),
      overrides: {},
    });
    expect(await become(project.id, commit)).toMatchObject({ outcome: 'run' });
    expect(await pushes.runsOf(project.id)).toHaveLength(2);
  });

  test('a commit that the remote never shows is given up after some attempts, with the reason', async () => {
    const project = await pushes.project();
    const id = await pushes.announce(project.id, 'd'.repeat(40));
    await pushes.db.update(deliveries).set({ attempts: 4 }).where(eq(deliveries.id, id));
    await pushes.settleAll(project.id);
    expect(await pushes.delivery(id)).toMatchObject({
      outcome: 'ignored',
      attempts: 5,
      reason: expect.stringMatching(/5 attempts\. No branch or tag of the remote has the commit/),
    });
  });

  test('a project without a remote says so', async () => {
    const project = await pushes.project({ remoteUrl: null });
    const id = await pushes.announce(project.id, 'd'.repeat(40));
    await pushes.db.update(deliveries).set({ attempts: 4 }).where(eq(deliveries.id, id));
    await pushes.settleAll(project.id);
    expect((await pushes.delivery(id)).reason).toContain('has no remote to fetch it from');
  });

  test('a remote that fails is asked again later, and what it says is not quoted', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'after a while');
    pushes.server.answer = (_request, response) => {
      response.writeHead(500).end('<script>secret words</script>');
      return true;
    };
    const id = await pushes.announce(project.id, commit);
    const settling = startSettlingDeliveries(pushes.deps);
    try {
      await until(async () => (await pushes.delivery(id)).failure !== null);
      const waiting = await pushes.delivery(id);
      expect(waiting).toMatchObject({ outcome: 'accepted' });
      expect(waiting.failure).not.toContain('secret words');
      pushes.server.answer = null;
      expect(await pushes.settled(id)).toMatchObject({ outcome: 'run', failure: null });
    } finally {
      await settling.stop();
    }
  });

  test('a remote that refuses this login is named as such', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'private');
    pushes.server.answer = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    const id = await pushes.announce(project.id, commit);
    await pushes.db.update(deliveries).set({ attempts: 19 }).where(eq(deliveries.id, id));
    await pushes.settleAll(project.id);
    expect((await pushes.delivery(id)).reason).toMatch(/20 attempts\. The remote .* refused access/);
  });

  test('what a dead process had taken is taken again, and settling twice is settling once', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'taken');
    const id = await pushes.announce(project.id, commit);
    const [taken] = await takeDueDeliveries(pushes.pool, project.id, { max: 5, leaseSeconds: 2 });
    expect(taken?.id).toBe(id);
    expect(await takeDueDeliveries(pushes.pool, project.id, { max: 5, leaseSeconds: 2 })).toEqual([]);
    await pushes.settleAll(project.id);
    const settled = await pushes.delivery(id);
    expect(settled).toMatchObject({ outcome: 'run', attempts: 2 });
    expect(await settleDelivery(pushes.pool, taken!, { reason: 'too late' })).toBe(false);
    expect(await pushes.delivery(id)).toEqual(settled);
  });

  test('a failing insert leaves neither a run nor a number behind', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'broken');
    const id = await pushes.announce(project.id, commit);
    const [taken] = await takeDueDeliveries(pushes.pool, project.id, { max: 1, leaseSeconds: 1 });
    const broken = { submit: { overrides: {}, tags: [], projectId: project.id } } as never;
    await expect(settleDelivery(pushes.pool, taken!, broken)).rejects.toThrow('null value');
    expect(await pushes.runsOf(project.id)).toEqual([]);
    await pushes.settleAll(project.id);
    expect(await pushes.delivery(id)).toMatchObject({ outcome: 'run' });
    expect((await pushes.runsOf(project.id)).map((run) => run.number)).toEqual([1]);
  });

  test('a project whose remote hangs does not hold up another', async () => {
    const [slow, quick] = [await pushes.project(), await pushes.project({ remoteUrl: null })];
    const commit = await pushes.commit(yaml('{ push: [main] }'), 'slow');
    const bundle = await pushes.repository.bundle({ tips: [commit] });
    await pushes.mirrors.ensure(quick.id);
    await pushes.mirrors.ingestBundle(quick.id, bundle, commit);
    const held: Array<() => void> = [];
    pushes.server.answer = (_request, response) => {
      held.push(() => response.writeHead(500).end());
      return true;
    };
    await pushes.announce(slow.id, commit);
    const settling = startSettlingDeliveries(pushes.deps);
    try {
      await until(() => held.length > 0);
      const id = await pushes.announce(quick.id, commit);
      expect(await pushes.settled(id)).toMatchObject({ outcome: 'run' });
    } finally {
      pushes.server.answer = null;
      for (const release of held) release();
      await settling.stop();
    }
  });

  test('settling that is stopped gives back what it did not look at', async () => {
    const project = await pushes.project();
    const commit = await pushes.commit(yaml('{ push: ["**"] }'), 'many');
    for (let n = 0; n < 5; n += 1) await pushes.announce(project.id, commit, { branch: `b${n}` });
    let reads = 0;
    const stopping: Promise<void>[] = [];
    const settling = startSettlingDeliveries({
      ...pushes.deps,
      mirrors: {
        ...pushes.mirrors,
        readCommitFile: async (...args) => {
          reads += 1;
          if (reads === 3) stopping.push(settling.stop());
          return await pushes.mirrors.readCommitFile(...args);
        },
      },
    });
    await until(() => stopping.length > 0);
    await Promise.all(stopping);
    const rows = await pushes.deliveriesOf(project.id);
    const left = rows.filter((row) => row.outcome === 'accepted');
    expect(left.length).toBeGreaterThan(0);
    expect(left.every((row) => row.attempts === 0)).toBe(true);
    await pushes.settleAll(project.id);
    expect(await pushes.runsOf(project.id)).toHaveLength(5);
  });
});
