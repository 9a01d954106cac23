// The whole stack as processes, killed one after the other while runs go on. A longer loop is for the hand:
// node test/support/kill-loop.ts --kills 60 --seed 1
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '#embedded/ports.ts';
import { assayProcess } from '#test/support/assay-process.ts';
import { killLoop } from '#test/support/kill-loop.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-crash-'));
  // Stages of another account have to pass through.
  await chmod(home, 0o711);
});

afterAll(() => rm(home, { recursive: true, force: true }));

it('every accepted run ends rightly and once although each process of the stack is killed, and nothing is left', async () => {
  const system = assayProcess(home, await freePort(), { ASSAY_SLOTS: '3' });
  const kinds = [...system.kinds].toSorted();
  const kills = kinds.length;
  const report = await killLoop({ system, seed: 7, kinds, kills, pauseMs: [300, 1_500], lines: 80, openRunsMax: 3 });
  expect(report.violations).toEqual([]);
  expect(Object.values(report.kills).reduce((sum, n) => sum + n, 0)).toBe(kills);
  expect(report.accepted).toBeGreaterThan(0);
  expect(report.succeeded).toBeGreaterThan(0);
  expect(report.adopted).toBeGreaterThan(0);
}, 240_000);
