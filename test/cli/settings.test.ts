import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findServer, hostsPath, readHosts, writeHosts } from '#cli/settings.ts';

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-settings-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function leaveStack(dir: string, url: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'token'), 'assay_stack\n');
  await writeFile(join(dir, 'stack.lock'), JSON.stringify({ pid: 1, url }));
}

describe('the server', () => {
  it('is the stack of this machine without any login', async () => {
    await leaveStack(join(home, '.assay'), 'http://127.0.0.1:5000');
    expect(await findServer({ HOME: home })).toMatchObject({ url: 'http://127.0.0.1:5000', token: 'assay_stack' });
  });

  it('is the one logged in to before the stack of this machine', async () => {
    await leaveStack(join(home, '.assay'), 'http://127.0.0.1:5000');
    const url = 'https://assay.example.org';
    await writeHosts({ HOME: home }, { current: url, hosts: { [url]: { token: 'assay_team', owner: 'ann' } } });
    expect(await findServer({ HOME: home })).toMatchObject({ url, token: 'assay_team' });
    const env = { HOME: home, ASSAY_HOME: join(home, '.assay') };
    expect(await findServer(env)).toMatchObject({ token: 'assay_stack' });
  });

  it('is what the variables say before anything else', async () => {
    const env = { HOME: home, ASSAY_URL: 'http://other:1/', ASSAY_TOKEN: 'assay_given' };
    expect(await findServer(env)).toMatchObject({ url: 'http://other:1', token: 'assay_given' });
  });

  it('has no token when nothing is known, and never one of another server', async () => {
    await leaveStack(join(home, '.assay'), 'http://127.0.0.1:5000');
    expect(await findServer({ HOME: home, ASSAY_URL: 'http://other:1' })).toMatchObject({ token: null });
  });
});

describe('the file of logins', () => {
  it('is readable by its owner only', async () => {
    const env = { HOME: home };
    await writeHosts(env, { current: null, hosts: {} });
    expect((await stat(hostsPath(env))).mode & 0o777).toBe(0o600);
    expect(await readHosts(env)).toEqual({ current: null, hosts: {} });
  });

  it('is refused with what to do when it was damaged', async () => {
    const env = { XDG_CONFIG_HOME: home };
    await mkdir(join(home, 'assay'));
    await writeFile(hostsPath(env), '{');
    await expect(findServer(env)).rejects.toThrow(/remove it and log in again/);
  });
});
