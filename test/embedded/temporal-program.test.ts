import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findTemporalProgram } from '#embedded/temporal-program.mjs';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'assay-program-'));
  vi.stubEnv('PATH', [join(folder, 'first'), join(folder, 'second'), '/usr/bin', '/bin'].join(':'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function makeProgram(place: string, exitCode = 0): Promise<string> {
  const path = join(folder, place, 'temporal');
  await mkdir(join(folder, place), { recursive: true });
  await writeFile(path, `#!/bin/sh\nexit ${exitCode}\n`);
  await chmod(path, 0o755);
  return path;
}

test('the configured program comes first, then PATH in its order, then the cache', async () => {
  const cached = await makeProgram('cache/assay/bin');
  expect(await findTemporalProgram()).toBe(cached);
  const second = await makeProgram('second');
  expect(await findTemporalProgram()).toBe(second);
  const first = await makeProgram('first');
  expect(await findTemporalProgram()).toBe(first);
  const configured = await makeProgram('elsewhere');
  expect(await findTemporalProgram(configured)).toBe(configured);
});

test('a program that does not run is passed over, as is a file that is no program', async () => {
  await makeProgram('first', 1);
  await writeFile(join(folder, 'second'), '');
  const cached = await makeProgram('cache/assay/bin');
  expect(await findTemporalProgram()).toBe(cached);
});

test('a configured program that does not run is refused instead of replaced', async () => {
  await makeProgram('first');
  const broken = await makeProgram('elsewhere', 1);
  await expect(findTemporalProgram(broken)).rejects.toThrow('ASSAY_TEMPORAL_BIN');
});

test('no program anywhere is told apart from an error', async () => {
  expect(await findTemporalProgram()).toBeNull();
});
