// The processes of the team set-up on real servers, made by the scripts that docker-compose.yml runs. A longer loop is for
// the hand: node test/support/kill-loop.ts --team --s3 --kills 60 --seed 1
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { killLoop } from '#test/support/kill-loop.ts';
import { teamSystem } from '#test/support/team-system.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-team-'));
  // Stages of another account have to pass through.
  await chmod(home, 0o711);
});

afterAll(() => rm(home, { recursive: true, force: true }));

it('every accepted run ends rightly and once although each process is killed, and the roles see only their own', async () => {
  const system = teamSystem({ home, stageWorkers: 2, slots: 2 });
  const kinds = [...system.kinds].toSorted();
  await system.start();
  const { owner, app } = system.databaseUrls();
  for (const url of [owner, app]) {
    const foreign = new URL(url);
    foreign.pathname = '/temporal';
    const client = new pg.Client({ connectionString: foreign.href });
    await expect(client.connect()).rejects.toThrow('permission denied for database "temporal"');
  }
  const report = await killLoop({
    system,
    seed: 11,
    kinds,
    kills: kinds.length,
    pauseMs: [300, 1_500],
    lines: 60,
    openRunsMax: 3,
  });
  expect(report.violations).toEqual([]);
  expect(Object.values(report.kills).reduce((sum, n) => sum + n, 0)).toBe(kinds.length);
  expect(report.succeeded).toBeGreaterThan(0);
  expect(report.adopted).toBeGreaterThan(0);
}, 400_000);
