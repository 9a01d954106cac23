import { describe, expect, test } from 'vitest';
import { parseRemote } from '#git/remote.ts';
import { isPublicAddress, publicAddresses } from '#git/remote-address.ts';

test.each([
  ['https://github.com/team/repo.git', 'https://github.com/team/repo.git', 443],
  ['HTTPS://GitHub.COM./team/repo', 'https://github.com/team/repo', 443],
  ['https://git.example.org:8443/a', 'https://git.example.org:8443/a', 8443],
  ['https://[2001:4860:4860::8888]/a', 'https://[2001:4860:4860::8888]/a', 443],
  ['ssh://git@github.com/team/repo.git', 'ssh://git@github.com/team/repo.git', 22],
  ['ssh://git@ssh.github.com:443/team/repo.git', 'ssh://git@ssh.github.com:443/team/repo.git', 443],
  ['ssh://host.example.org/~ada/repo', 'ssh://host.example.org/~ada/repo', 22],
  ['git@github.com:team/repo.git', 'git@github.com:team/repo.git', 22],
  ['host.example.org:repo', 'host.example.org:repo', 22],
])('%s is taken apart and built again', (text, url, port) => {
  expect(parseRemote(text)).toMatchObject({ url, port });
});

test.each([
  '',
  '-u',
  '--upload-pack=touch /tmp/x',
  'ext::sh -c touch% /tmp/x',
  'fd::7',
  'EXT::x',
  '::x',
  'file:///etc',
  '/etc/repo',
  './repo',
  '../repo',
  'C:\\repo',
  'http://github.com/a/b',
  'git://github.com/a/b',
  'ftp://github.com/a/b',
  'git+ssh://github.com/a/b',
  'https://-oProxyCommand=x/a',
  'ssh://-oProxyCommand=x/a',
  'ssh://git@-oProxyCommand=x/a',
  'ssh://-oProxyCommand=x@host/a',
  '-oProxyCommand=x:a',
  'git@-oProxyCommand=x:a',
  '-x@host:a',
  'git@host:-a',
  'git@host:../a',
  'git@host:a;touch x',
  'git@host:$(touch x)',
  'git@host:a`b`',
  "ssh://git@host/a'b",
  'https://user:pass@github.com/a',
  'https://token@github.com/a',
  'ssh://git:pass@github.com/a',
  'https://github.com',
  'https://github.com/',
  'https:///a',
  'https://github.com/a?x=1',
  'https://github.com/a#b',
  'https://github.com/a b',
  'https://github.com/a\r\nHost: x',
  'https://github.com/a\0',
  'https://git\u0000hub.com/a',
  'https://exa mple.org/a',
  'ssh://[::1%25lo]/a',
  `https://github.com/${'a'.repeat(2_000)}`,
])('%j is refused as a remote', (text) => {
  expect(() => parseRemote(text)).toThrow(expect.objectContaining({ code: 'invalid-remote' }));
});

test('a refused address that carries a password does not show it', () => {
  for (const text of ['https://user:canary-4711@github.com/a', 'ftp://user:canary-4711@h/a']) {
    expect(() => parseRemote(text)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('canary') }),
    );
  }
});

describe('an address inside', () => {
  test.each([
    'https://127.0.0.1/a',
    'https://127.1/a',
    'https://2130706433/a',
    'https://0x7f000001/a',
    'https://0x7f.0.0.1/a',
    'https://0177.0.0.1/a',
    'https://017700000001/a',
    'https://0/a',
    'https://127.0.0.1./a',
    'https://①②⑦.0.0.1/a',
    'https://[::1]/a',
    'https://[::]/a',
    'https://[::ffff:127.0.0.1]/a',
    'https://[::ffff:7f00:1]/a',
    'https://[::127.0.0.1]/a',
    'https://[64:ff9b::7f00:1]/a',
    'https://[64:ff9b::a9fe:a9fe]/a',
    'https://[64:ff9b:1::1]/a',
    'https://[fe80::1]/a',
    'https://[fd00::1]/a',
    'https://[fec0::1]/a',
    'https://[ff02::1]/a',
    'https://[2002:7f00:1::]/a',
    'https://[2001:0:1::]/a',
    'https://169.254.169.254/a',
    'https://10.0.0.1/a',
    'https://172.16.0.1/a',
    'https://172.31.255.255/a',
    'https://192.168.1.1/a',
    'https://100.64.0.1/a',
    'https://198.18.0.1/a',
    'https://224.0.0.1/a',
    'https://255.255.255.255/a',
    'https://localhost/a',
    'https://LOCALHOST./a',
    'ssh://git@127.1/a',
    'ssh://git@0x7f000001/a',
    'git@2130706433:a',
    'git@[::1]:a',
    'git@localhost:a',
  ])('%s is refused', async (text) => {
    await expect(publicAddresses(parseRemote(text))).rejects.toMatchObject({ code: 'invalid-remote' });
  });

  test.each(['8.8.8.8', '140.82.121.3', '172.32.0.1', '100.128.0.1', '2606:4700::1', '64:ff9b::8c52:7903'])(
    'is told from the public %s',
    async (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  test('is looked for in a host that is spelled as an address, too', async () => {
    expect(await publicAddresses(parseRemote('https://140.82.121.3/a'))).toEqual(['140.82.121.3']);
    expect(isPublicAddress('not an address')).toBe(false);
  });
});
