import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchWatchingVersion } from '#cli/server-version.ts';
import { hostsPath, readHosts } from '#cli/settings.ts';
import { type CliServer, startCliServer } from './server.ts';
import { createRecordingTerminal } from './terminals.ts';

let first: CliServer;
let second: CliServer;
const unset = { ASSAY_URL: undefined, ASSAY_TOKEN: undefined };

beforeAll(async () => {
  [first, second] = await Promise.all([startCliServer(), startCliServer()]);
});
afterAll(() => Promise.all([first.close(), second.close()]));

/** One person with one home, whichever server is meant. */
function assay(words: string[], options: { input?: string; env?: Record<string, string | undefined> } = {}) {
  return first.assay(words, { ...options, env: { ...unset, ...options.env } });
}

const logIn = (server: CliServer, role: 'ml' | 'platform') =>
  assay(['login', server.url, '--token-stdin'], { input: `${server.api.tokens[role]}\n` });

describe('several servers', () => {
  it('are known side by side, and the newest login is in use', async () => {
    expect((await logIn(first, 'ml')).out).toContain(`Logged in to ${first.url} as ml@example.org (ml)`);
    expect((await logIn(second, 'platform')).code).toBe(0);
    expect((await stat(hostsPath({ HOME: first.home }))).mode & 0o777).toBe(0o600);
    const { out } = await assay(['whoami']);
    expect(out).toContain(`server\t${second.url}\nowner\tplatform@example.org\nrole\tplatform\n`);
    expect(out).toContain(`others\t${first.url}\n`);
  });

  it('are told apart by --server, with the address or its host', async () => {
    for (const name of [first.url, `${first.url}/`, new URL(first.url).host]) {
      expect((await assay(['--server', name, 'whoami', '--json'])).out).toContain('"owner": "ml@example.org"');
    }
    const several = await assay(['--server', '127.0.0.1', 'whoami']);
    expect(several.notes).toContain('names several servers that you are logged in to');
    const none = await assay(['--server', 'elsewhere', 'whoami']);
    expect(none.notes).toContain(`names no server that you are logged in to; expected one of ${first.url}, `);
  });

  it('never get the token that was given for another one', async () => {
    const env = { ASSAY_URL: second.url, ASSAY_TOKEN: 'assay_of-the-second' };
    expect((await assay(['--server', first.url, 'whoami', '--json'], { env })).out).toContain('"ml@example.org"');
    expect((await assay(['--server', 'http://127.0.0.1:1', 'whoami'], { env })).code).toBe(4);
    expect((await assay(['--server', second.url, 'whoami'], { env })).notes).toContain('The token is unknown');
  });

  it('are forgotten one by one, and none takes the place of another', async () => {
    expect((await assay(['logout'])).notes).toContain(`Logged out of ${second.url}`);
    const stored = await readFile(hostsPath({ HOME: first.home }), 'utf8');
    expect(stored).not.toContain(second.api.tokens.platform);
    expect(await readHosts({ HOME: first.home })).toMatchObject({ current: null });
    expect((await assay(['logout'])).notes).toContain(`Not logged in. Stored are: ${first.url}.`);
    expect((await assay(['--server', first.url, 'logout'])).code).toBe(0);
    expect((await assay(['logout', first.url])).notes).toContain(`Not logged in to ${first.url}. Nothing is stored.`);
  });
});

describe('a login', () => {
  it('stores nothing when the server does not know the token', async () => {
    const { code } = await assay(['login', first.url, '--token-stdin'], { input: `assay_${'x'.repeat(43)}` });
    expect(code).toBe(4);
    expect((await readHosts({ HOME: first.home })).hosts).toEqual({});
  });

  it('refuses what is no token, without showing it', async () => {
    const { code, notes } = await assay(['login', first.url, '--token-stdin'], { input: 'my secret words\n' });
    expect(code).toBe(1);
    expect(notes).toContain('where a token was expected');
    expect(notes).not.toContain('secret words');
    expect((await assay(['login', first.url, '--token-stdin'], { input: '\n' })).notes).toContain('Found nothing');
  });

  it('says that the token travels in clear, unless it stays on this machine', async () => {
    const away = await assay(['login', 'http://assay.invalid', '--token-stdin'], { input: 'assay_x' });
    expect(away.notes).toMatch(/^warning: http:\/\/assay\.invalid has no https/);
    expect(away.code).toBe(3);
    expect((await logIn(first, 'ml')).notes).toBe('');
  });

  it('names the way to trust an authority of the organisation', async () => {
    const server = await startHttps();
    const { code, notes } = await assay(['login', server.url, '--token-stdin'], { input: 'assay_x' });
    server.close();
    expect(code).toBe(3);
    expect(notes).toContain(`The certificate of ${server.url} is refused: self-signed certificate.`);
    expect(notes).toContain('NODE_EXTRA_CA_CERTS');
  });
});

/** A server whose certificate nobody has heard of. */
async function startHttps(): Promise<{ url: string; close: () => void }> {
  const [key, certificate] = [join(first.home, 'key.pem'), join(first.home, 'certificate.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  const files = ['-keyout', key, '-out', certificate, '-subj', '/CN=localhost'];
  await promisify(execFile)('openssl', [...request, ...files]);
  const options = { key: await readFile(key), cert: await readFile(certificate) };
  const server = createServer(options, (_request, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `https://localhost:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

describe('another version of the server', () => {
  const own = { version: '0.1.0+000000000000', isClientOnly: true };

  async function ask(home: string, asJson: boolean, installation = own): Promise<string> {
    const terminal = createRecordingTerminal();
    const context = { cwd: '/', env: { HOME: home }, terminal, stdin: process.stdin, asJson };
    const send = fetchWatchingVersion(context, first.url, installation);
    await send(new URL('/health', first.url));
    await send(new URL('/health', first.url));
    return terminal.notes.join('\n');
  }

  it('is said once a day, with how to get it', async () => {
    const home = join(first.home, 'told');
    expect(await ask(home, true)).toBe('');
    expect(await ask(home, false)).toMatch(
      new RegExp(
        `^${first.url} has version 0\\.1\\.0\\+\\w{12}, this is 0\\.1\\.0\\+0{12}; run npm install -g ${first.url}/assay\\.tgz$`,
      ),
    );
    expect(await ask(home, false)).toBe('');
    const path = join(home, '.cache', 'assay', 'other-versions.json');
    await writeFile(path, JSON.stringify({ [first.url]: Date.now() - 25 * 60 * 60 * 1000 }));
    expect(await ask(home, false)).not.toBe('');
  });

  it('is nothing to say of a checkout of the same release', async () => {
    const home = join(first.home, 'checkout');
    expect(await ask(home, false, { version: '0.1.0', isClientOnly: false })).toBe('');
    expect(await ask(home, false, { version: '0.0.9', isClientOnly: false })).toContain('npm install -g');
  });

  it('is said again when that cannot be remembered', async () => {
    const home = join(first.home, 'full');
    await writeFile(home, 'a file where a folder would be');
    expect(await ask(home, false)).not.toBe('');
    expect(await ask(home, false)).not.toBe('');
  });
});
