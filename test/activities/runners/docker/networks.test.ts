// What a stage reaches from its container, in a small world: a namespace that stands for everything beyond the node, with
// a public address, a private one and the metadata of a cloud; services of the node; and another stage.
import { execFile, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chainsOf } from '#activities/runners/docker/networks/firewall.ts';
import { dockerEngine } from '#test/support/docker.ts';
import { logOf } from '#test/activities/runners/runner-contract.ts';
import { until } from '#test/activities/runners/until.ts';
import { createRunnerOfTest, type RunnerOfTest } from './runner-of-test.ts';

const run = promisify(execFile);
const docker = process.getuid?.() === 0 ? await dockerEngine() : null;
const namespace = `assay-${process.pid}`;
const device = `asv${process.pid}`;
const beyond = { public: '203.0.113.5', private: '10.99.0.5', allowed: '10.98.0.5', metadata: '169.254.169.254' };
const beyondPort = 8099;
/** Ports on which all addresses of the node answer, as Postgres and Temporal of an operator may. */
let service: Server;
let api: Server;
let heard: Array<{ host: string | undefined; url: string | undefined; token: string | undefined; body: string }>;
let under: RunnerOfTest;
let world: ReturnType<typeof spawn>;

async function listen(server: Server, host: string): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

async function createWorld(): Promise<void> {
  await run('ip', ['netns', 'add', namespace]);
  await run('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', 'out', 'netns', namespace]);
  await run('ip', ['address', 'add', '203.0.113.1/24', 'dev', device]);
  await run('ip', ['link', 'set', device, 'up']);
  const inside = (...args: string[]) => run('ip', ['-n', namespace, ...args]);
  await inside('address', 'add', `${beyond.public}/24`, 'dev', 'out');
  await inside('link', 'set', 'lo', 'up');
  await inside('link', 'set', 'out', 'up');
  for (const address of [beyond.private, beyond.allowed, beyond.metadata]) {
    await inside('address', 'add', `${address}/32`, 'dev', 'lo');
    await run('ip', ['route', 'add', `${address}/32`, 'via', beyond.public, 'dev', device]);
  }
  world = spawn('ip', ['netns', 'exec', namespace, 'python3', '-m', 'http.server', String(beyondPort)], {
    cwd: '/proc/self/fdinfo',
    stdio: 'ignore',
  });
  await until(async () => await reaches(beyond.metadata));
}

/** From the node itself, which has no rules. */
async function reaches(address: string): Promise<boolean> {
  return await fetch(`http://${address}:${beyondPort}/`).then(
    () => true,
    () => false,
  );
}

const probe = `
import socket, sys
for target in sys.argv[1:]:
    name, host, port = target.split("=")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(name, "reached")
    except OSError as error:
        print(name, "closed")
`;

/** Which of the targets a stage with that network reaches. */
async function reachedBy(
  network: 'open' | 'platform' | 'none',
  targets: Record<string, [host: string, port: number]>,
): Promise<string[]> {
  const words = Object.entries(targets).map(([name, [host, port]]) => `${name}=${host}=${port}`);
  const handle = await under.start(['/usr/bin/python3', '-c', probe, ...words], { network });
  expect(await handle.wait()).toMatchObject({ reason: 'exited', code: 0 });
  const lines = (await logOf(handle)).trim().split('\n');
  expect(lines).toHaveLength(words.length);
  await handle.remove();
  return lines.filter((line) => line.endsWith(' reached')).map((line) => line.replace(' reached', ''));
}

const nodeAddress = () =>
  Object.entries(networkInterfaces())
    .filter(([name]) => !/^(lo|docker|as|br-|veth)/.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .find(({ family }) => family === 'IPv4')?.address ?? '127.0.0.1';

describe.skipIf(docker === null)('networks of containers (skipped: no Docker engine, or not root)', () => {
  beforeAll(async () => {
    if (docker === null) return;
    heard = [];
    service = createServer((_, response) => response.end('secret'));
    api = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => (body += part));
      request.on('end', () => {
        heard.push({ host: request.headers.host, url: request.url, token: request.headers.authorization, body });
        response.writeHead(201, { 'x-answer': 'yes' }).end('from the API');
      });
    });
    const apiPort = await listen(api, '127.0.0.1');
    await listen(service, '0.0.0.0');
    await createWorld();
    under = await createRunnerOfTest(docker, {
      apiUrl: `http://127.0.0.1:${apiPort}`,
      allowed: ['10.98.0.0/16'],
    });
  });

  afterAll(async () => {
    await under.close();
    world.kill();
    await run('ip', ['netns', 'del', namespace]);
    for (const server of [service, api]) server.close();
  });

  const everything = async (): Promise<Record<string, [string, number]>> => {
    const { port } = service.address() as AddressInfo;
    const gateways = await Promise.all((['open', 'platform'] as const).map((kind) => under.runner.apiUrl(kind, '')));
    const [open = '', platform = ''] = gateways.map((url) => new URL(url ?? '').hostname);
    const door = Number(new URL(gateways[0] ?? '').port);
    return {
      world: [beyond.public, beyondPort],
      private: [beyond.private, beyondPort],
      allowed: [beyond.allowed, beyondPort],
      metadata: [beyond.metadata, beyondPort],
      'node by its own address': [nodeAddress(), port],
      'node by the gateway of open': [open, port],
      'node by the gateway of platform': [platform, port],
      'node by the bridge of Docker': ['172.17.0.1', port],
      'node by the address beyond': ['203.0.113.1', port],
      'API by the gateway of open': [open, door],
      'API by the gateway of platform': [platform, door],
    };
  };

  it('open reaches the world, what the operator allows and the API, and nothing else', async () => {
    const reached = await reachedBy('open', await everything());
    expect(reached).toEqual(['world', 'allowed', 'API by the gateway of open']);
  });

  it('platform reaches the API alone', async () => {
    expect(await reachedBy('platform', await everything())).toEqual(['API by the gateway of platform']);
  });

  it('none reaches nothing', async () => {
    expect(await reachedBy('none', await everything())).toEqual([]);
  });

  it('keeps stages from each other, within a network and across', async () => {
    const code = 'import http.server\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port=8098)';
    const other = await under.python(code, { network: 'open', variables: { PYTHONUNBUFFERED: '1' } });
    await until(async () => (await logOf(other)).includes('Serving HTTP'));
    const info = await docker?.getContainer(other.name).inspect();
    const [address = ''] = Object.values(info?.NetworkSettings.Networks ?? {}).map(({ IPAddress }) => IPAddress);
    expect(address).toMatch(/^\d+\./);
    const target: Record<string, [string, number]> = { other: [address, 8098] };
    expect(await reachedBy('open', target)).toEqual([]);
    expect(await reachedBy('platform', target)).toEqual([]);
    await other.remove();
  });

  it('carries no questions for names out of platform, and has no IPv6', async () => {
    const code = `
import socket
for name in ("assay-test.example.org", "deb.debian.org"):
    try: print(name, socket.getaddrinfo(name, 80))
    except OSError: print("unknown")
print(len(open("/proc/net/if_inet6").readlines()))
`;
    const handle = await under.python(code, { network: 'platform' });
    await handle.wait();
    expect(await logOf(handle)).toBe('unknown\nunknown\n0\n');
    await handle.remove();
  });

  it('gives a stage the API at an address that the API answers to', async () => {
    const url = await under.runner.apiUrl('platform', '');
    const code = `
import os, urllib.request
request = urllib.request.Request(os.environ["ASSAY_API_URL"] + "/api/v1/x?y=1", data=b"payload")
request.add_header("authorization", "Bearer " + os.environ["ASSAY_TOKEN"])
answer = urllib.request.urlopen(request)
print(answer.status, answer.headers["x-answer"], answer.read().decode())
`;
    const variables = { ASSAY_API_URL: url ?? '', ASSAY_TOKEN: 'assay_t' };
    const handle = await under.python(code, { network: 'platform', variables });
    await handle.wait();
    expect(await logOf(handle)).toBe('201 yes from the API\n');
    const { port } = api.address() as AddressInfo;
    expect(heard).toEqual([
      { host: `127.0.0.1:${port}`, url: '/api/v1/x?y=1', token: 'Bearer assay_t', body: 'payload' },
    ]);
    await handle.remove();
  });

  it('puts rules back that somebody removed before the next stage starts', async () => {
    const { forward } = chainsOf(under.node);
    await run('iptables', ['-F', forward]);
    expect(await reachedBy('open', { metadata: [beyond.metadata, beyondPort] })).toEqual([]);
    await run('iptables', ['-I', 'DOCKER-USER', '1', '-j', 'ACCEPT']);
    try {
      expect(await reachedBy('open', { metadata: [beyond.metadata, beyondPort] })).toEqual([]);
    } finally {
      await run('iptables', ['-D', 'DOCKER-USER', '-j', 'ACCEPT']);
    }
  });

  it('refuses a stage what the operator does not let it have, and says what is possible', async () => {
    if (docker === null) return;
    const modest = await createRunnerOfTest(docker, { most: 'platform' });
    const refused = modest.start(['/bin/true'], { network: 'open' });
    await expect(refused).rejects.toMatchObject({
      code: 'network-not-enforceable',
      message: expect.stringContaining("at most 'platform'"),
    });
    await expect(modest.runner.apiUrl('open', '')).rejects.toMatchObject({ code: 'network-not-enforceable' });
    expect(await modest.runner.list()).toEqual([]);
    await modest.close();
  });

  it('leaves neither networks nor rules behind', async () => {
    if (docker === null) return;
    const passing = await createRunnerOfTest(docker);
    await passing.networks.prepare('open');
    const rules = async () => (await run('iptables-save', ['-t', 'filter'])).stdout;
    const names = async () => (await docker.listNetworks()).map(({ Name }) => Name).join(' ');
    expect(await rules()).toContain(chainsOf(passing.node).forward);
    expect(await names()).toContain(passing.node);
    await passing.close();
    expect(await rules()).not.toContain(chainsOf(passing.node).forward);
    expect(await names()).not.toContain(passing.node);
  });
});
