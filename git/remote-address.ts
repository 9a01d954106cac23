// Which addresses a remote may have. Without this, a project's URL would let its author reach the server's own network.
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { DomainError } from '#core/errors.ts';
import type { Remote } from './remote.ts';

// IANA special-purpose registries: everything that is not ordinary public unicast.
const reserved4: readonly [string, number][] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
];
const reserved6: readonly [string, number][] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

const refused4 = new BlockList();
const refused6 = new BlockList();
const unicast6 = new BlockList();
for (const [net, prefix] of reserved4) refused4.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of reserved6) refused6.addSubnet(net, prefix, 'ipv6');
unicast6.addSubnet('2000::', 3, 'ipv6');

// NAT64 (64:ff9b::/96) carries an IPv4 address in its last 32 bits, and a network with DNS64 answers nothing else.
function nat64Address(address: string): string | null {
  const canonical = new URL(`https://[${address}]/`).hostname.slice(1, -1);
  const match = /^64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/.exec(canonical);
  if (match === null) return null;
  const [high, low] = [Number.parseInt(match[1] ?? '0', 16), Number.parseInt(match[2] ?? '0', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Whether an IP address is ordinary public unicast. Mapped IPv4 in IPv6 is never public: nobody honest spells it so. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !refused4.check(address, 'ipv4');
  if (family !== 6) return false;
  const embedded = nat64Address(address);
  if (embedded !== null) return isPublicAddress(embedded);
  return unicast6.check(address, 'ipv6') && !refused6.check(address, 'ipv6');
}

// Behind a proxy the machine's own DNS may know no outside name; the proxy then resolves it and is the boundary.
export function isProxied(remote: Remote): boolean {
  const variables = ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'];
  return remote.protocol === 'https' && variables.some((name) => (process.env[name] ?? '') !== '');
}

async function resolveHost(remote: Remote): Promise<string[]> {
  const host = remote.host;
  try {
    const found = await lookup(host, { all: true, order: 'verbatim' });
    return found.map((entry) => entry.address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (isProxied(remote) && (code === 'ENOTFOUND' || code === 'EAI_AGAIN')) return [];
    if (code !== 'ENOTFOUND') throw error;
    throw new DomainError('invalid-remote', `The remote's host ${host} does not exist in DNS; check its spelling.`);
  }
}

/**
 * The addresses git must be pinned to, all of them public, or invalid-remote; none behind a proxy that alone knows the
 * name. Git gets these addresses and not the name, because a second look-up could answer differently (DNS rebinding).
 */
export async function publicAddresses(remote: Remote): Promise<string[]> {
  const addresses = isIP(remote.host) === 0 ? await resolveHost(remote) : [remote.host];
  const inside = addresses.find((address) => !isPublicAddress(address));
  if (inside === undefined) return addresses;
  throw new DomainError(
    'invalid-remote',
    `The remote's host ${remote.host} has the address ${inside}, which is private, loopback or reserved; ` +
      'use a public host, or let the operator allow private remotes.',
  );
}
