import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPython } from '#activities/runners/find-python.ts';
import { ensureStageUser, type StageUser } from '#activities/runners/stage-user.ts';

let base: string;
let user: StageUser | null;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'assay-python-'));
  user = await ensureStageUser();
});

afterAll(() => rm(base, { recursive: true, force: true }));

describe('the Python of the platform', () => {
  it('is one that the user of the stages can execute', async () => {
    const python = await findPython(user);
    const identity = user ? { uid: user.uid, gid: user.gid } : {};
    const { stdout } = await promisify(execFile)(python, ['-c', 'print("works")'], { cwd: '/', ...identity });
    expect(stdout).toBe('works\n');
  });

  it('is the interpreter behind a link', async () => {
    const python = await findPython(user);
    await chmod(base, 0o755);
    await symlink(python, join(base, 'python3'));
    expect(await findPython(user, join(base, 'python3'))).toBe(python);
  });

  it('is refused with a sentence when the one asked for is missing', async () => {
    await expect(findPython(user, '/no/such/python')).rejects.toThrow(/set ASSAY_PYTHON.*\/no\/such\/python/);
  });

  it('is refused when it is not a Python', async () => {
    await expect(findPython(user, '/bin/false')).rejects.toThrow('No Python of version 3.9 or newer');
  });
});

describe('the user of the stages', () => {
  it.runIf(process.getuid?.() === 0)('is neither root nor changed by asking again', async () => {
    expect(user?.uid).toBeGreaterThan(0);
    expect(user?.gid).toBeGreaterThan(0);
    expect(await ensureStageUser()).toEqual(user);
  });

  it.runIf(process.getuid?.() !== 0)('is the worker itself where it is not root', () => {
    expect(user).toBeNull();
  });
});
