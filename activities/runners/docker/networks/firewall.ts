// The rules that make `open` and `platform` true, in chains of our own that Docker's DOCKER-USER and INPUT jump to.
// Docker itself lets containers reach every address of the node and of its networks.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { promisify } from 'node:util';
import { type Bridge, type Bridged, devicePrefix } from './bridges.ts';

const run = promisify(execFile);
const commandMs = 10_000;
const lockSeconds = '5';

/**
 * Private, shared, link-local (the metadata of clouds among them), reserved and multicast addresses: RFC 6890. What is
 * documentation only is not refused: nobody is there.
 */
const refusedRanges = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

export interface Wall {
  node: string;
  bridges: Record<Bridged, Bridge>;
  /** Where the forwarder listens, on the gateway of each bridge. */
  port: number;
  /** Ranges that `open` reaches although they are private. */
  allowed: readonly string[];
  /** The node's own name servers: their port 53 is reachable, wherever they are. */
  resolvers: readonly string[];
}

interface Chains {
  forward: string;
  input: string;
}

export const chainsOf = (node: string): Chains => ({
  forward: `ASSAY-FWD-${node.slice(0, 8)}`,
  input: `ASSAY-IN-${node.slice(0, 8)}`,
});

/** In iptables-restore's language: declaring a chain empties it, and all of it happens at once or not at all. */
function rulesOf({ node, bridges, port, allowed, resolvers }: Wall): string {
  const { forward, input } = chainsOf(node);
  const resolving = resolvers.flatMap((address) =>
    ['udp', 'tcp'].map((protocol) => `-A ${forward} -d ${address}/32 -p ${protocol} --dport 53 -j RETURN`),
  );
  return [
    '*filter',
    `:${forward} - [0:0]`,
    `:${input} - [0:0]`,
    `-A ${forward} -i ${bridges.platform.device} -j REJECT`,
    `-A ${forward} -o ${devicePrefix(node)}+ -j REJECT`,
    ...resolving,
    ...allowed.map((range) => `-A ${forward} -d ${range} -j RETURN`),
    ...refusedRanges.map((range) => `-A ${forward} -d ${range} -j REJECT`),
    ...Object.values(bridges).map(
      ({ device, gateway }) => `-A ${input} -i ${device} -d ${gateway}/32 -p tcp --dport ${port} -j ACCEPT`,
    ),
    `-A ${input} -j REJECT`,
    'COMMIT',
    '',
  ].join('\n');
}

export interface Firewall {
  /** Sees that the rules are there and come first, and puts them there where they are not. Rejects with the reason. */
  hold(wall: Wall): Promise<void>;
  remove(node: string): Promise<void>;
}

/** Somebody else writes rules at the same moment, as an engine does that makes a network. */
export class DisplacedRulesError extends Error {}

export function createFirewall(): Firewall {
  // What the system printed right after the rules were written: it spells them in a way of its own.
  let written: { rules: string; printed: string } | null = null;
  return {
    async hold(wall) {
      const rules = rulesOf(wall);
      const found = await readRules();
      if (written?.rules === rules && written.printed === ownLines(found, wall.node) && comeFirst(found, wall.node))
        return;
      await write(rules, wall.node, found);
      const after = await readRules();
      if (!comeFirst(after, wall.node)) {
        throw new DisplacedRulesError('the rules were written, but others come before them');
      }
      written = { rules, printed: ownLines(after, wall.node) };
    },
    async remove(node) {
      written = null;
      const found = await readRules();
      const { forward, input } = chainsOf(node);
      const jumps = found.filter((line) => line.endsWith(`-j ${forward}`) || line.endsWith(`-j ${input}`));
      const chains = [forward, input].filter((chain) => found.some((line) => line.startsWith(`:${chain} `)));
      if (chains.length === 0) return;
      const undo = [
        ...jumps.map((line) => line.replace(/^-A/, '-D')),
        ...chains.flatMap((c) => [`-F ${c}`, `-X ${c}`]),
      ];
      await restore(['*filter', ...undo, 'COMMIT', ''].join('\n'));
    },
  };
}

const jumpsOf = (node: string): ReadonlyArray<readonly [hook: string, chain: string]> => {
  const { forward, input } = chainsOf(node);
  return [
    ['DOCKER-USER', forward],
    ['INPUT', input],
  ];
};

/** Lines of iptables-save: chains as `:NAME`, rules as `-A NAME`. */
async function readRules(): Promise<string[]> {
  const { stdout } = await run('iptables-save', ['-t', 'filter'], { timeout: commandMs, maxBuffer: 64 * 2 ** 20 });
  const lines = stdout.split('\n').map((line) => line.trim());
  if (!lines.some((line) => line.startsWith(':DOCKER-USER '))) {
    throw new Error('iptables has no chain DOCKER-USER: the Docker engine runs without its own rules, or elsewhere');
  }
  return lines;
}

function ownLines(lines: readonly string[], node: string): string {
  const { forward, input } = chainsOf(node);
  return lines.filter((line) => line.startsWith(`-A ${forward} `) || line.startsWith(`-A ${input} `)).join('\n');
}

/** Our jump leads its hook, jumps of other homes aside, and Docker's FORWARD leads to the hook before anything else. */
function comeFirst(lines: readonly string[], node: string): boolean {
  const rulesIn = (chain: string) => lines.filter((line) => line.startsWith(`-A ${chain} `));
  const isFirst = ([hook, chain]: readonly [string, string]) => {
    const others = rulesIn(hook).filter((line) => !/ -j ASSAY-/.test(line) || line.endsWith(` -j ${chain}`));
    return others[0] === jumpRule(hook, chain, node);
  };
  return rulesIn('FORWARD')[0]?.endsWith('-j DOCKER-USER') === true && jumpsOf(node).every(isFirst);
}

function jumpRule(hook: string, chain: string, node: string): string {
  return `-A ${hook} -i ${devicePrefix(node)}+ -j ${chain}`;
}

async function write(rules: string, node: string, found: readonly string[]): Promise<void> {
  const jumps = jumpsOf(node).flatMap(([hook, chain]) => {
    const rule = jumpRule(hook, chain, node);
    const stale = found.filter((line) => line === rule).map((line) => line.replace(/^-A/, '-D'));
    return [...stale, rule.replace(`-A ${hook}`, `-I ${hook} 1`)];
  });
  await restore(rules.replace('COMMIT\n', [...jumps, 'COMMIT', ''].join('\n')));
}

/** `--noflush`: what is not named stays. */
async function restore(text: string): Promise<void> {
  const child = run('iptables-restore', ['--noflush', '--wait', lockSeconds], { timeout: commandMs });
  child.child.stdin?.end(text);
  await child;
}

const resolverFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** Name servers that containers are sent to: those of the node, loopback ones aside, which containers can not reach. */
export async function readResolvers(): Promise<string[]> {
  const texts = await Promise.all(resolverFiles.map((path) => readFile(path, 'utf8').catch(nothingIfMissing)));
  const addresses = texts.join('\n').matchAll(/^\s*nameserver\s+(\S+)/gm);
  const found = [...addresses].map(([, address = '']) => address);
  return [...new Set(found)].filter((address) => isIPv4(address) && !address.startsWith('127.')).toSorted();
}

function nothingIfMissing(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return '';
  throw error;
}
