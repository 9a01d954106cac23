// The networks of the stages of this node. A stage gets only what is really enforced: each start looks.

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { DomainError } from '#core/errors.ts';
import { isWithin } from '#core/network.ts';
import type { Network } from '#core/project.ts';
import { isAway } from '#activities/runners/docker/engine.ts';
import { type Bridge, type Bridged, ensureBridge, listNetworks, removeNetwork } from './bridges.ts';
import { createFirewall, DisplacedRulesError, readResolvers } from './firewall.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';

export interface NetworksOptions {
  docker: Docker;
  /** From `nodeOf`: whose networks these are. */
  node: string;
  /** The launches of this node; the forwarder's port is kept there, because stages outlive the worker. */
  stateDir: string;
  /** Where the API is, as this node reaches it. */
  apiUrl: string;
  /** The most that the operator lets a stage of this node have. */
  most: Network;
  /** Private ranges that `open` reaches all the same, as ADDRESS/BITS. */
  allowed: readonly string[];
}

export interface NetworkSetting {
  mode: string;
  /** Who answers questions for names; empty leaves it to the engine. */
  dns: string[];
}

export interface Networks {
  /** What the container's settings are called. Refuses with `network-not-enforceable`. */
  prepare(network: Network): Promise<NetworkSetting>;
  /** The walled network that builds get, whatever stages may have. Rejects when the walls do not stand. */
  forBuilds(): Promise<string>;
  /** How a stage with that network finds the API; null where it can not. */
  apiUrl(network: Network): Promise<string | null>;
  /** Removes networks of homes that are gone. */
  tidy(): Promise<void>;
  /** Removes this node's networks and rules, unless stages still use them. */
  close(): Promise<void>;
}

interface Held {
  bridges: Record<Bridged, Bridge>;
  forwarder: Forwarder;
}

export function createNetworks(options: NetworksOptions): Networks {
  const { docker, node, stateDir, most, allowed } = options;
  const firewall = createFirewall();
  let forwarder: Promise<Forwarder> | null = null;
  let gateways = '';
  let holding: Promise<Held> | null = null;

  async function hold(): Promise<Held> {
    const [open, platform] = await Promise.all([
      ensureBridge(docker, node, stateDir, 'open'),
      ensureBridge(docker, node, stateDir, 'platform'),
    ]);
    const bridges = { open, platform };
    const addresses = [open.gateway, platform.gateway];
    if (forwarder !== null && gateways !== addresses.join()) {
      // Somebody removed a network, and the new one has another address.
      await (await forwarder).close();
      forwarder = null;
    }
    gateways = addresses.join();
    forwarder ??= openForwarder(options, addresses).catch((error: unknown) => {
      forwarder = null;
      throw error;
    });
    const held = { bridges, forwarder: await forwarder };
    const resolvers = await readResolvers();
    await firewall.hold({ node, bridges, port: held.forwarder.port, allowed, resolvers });
    return held;
  }

  /** One look at a time; those that start together share it. */
  function look(): Promise<Held> {
    holding ??= hold().finally(() => {
      holding = null;
    });
    return holding;
  }

  async function require(network: Bridged): Promise<Held> {
    requireWithin(network, most);
    return await walled(network);
  }

  async function walled(network: Bridged): Promise<Held> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await look();
      } catch (error) {
        if (isAway(error)) throw error;
        if (!(error instanceof DisplacedRulesError)) throw notEnforceable(network, error);
        // The trouble of this node at this moment, and no fault of the stage.
        if (tries === displacedMax) throw error;
        await sleep(tries * displacedPauseMs);
      }
    }
  }

  return {
    async prepare(network) {
      if (network === 'none') return { mode: 'none', dns: [] };
      const { bridges } = await require(network);
      const { name, gateway } = bridges[network];
      // The engine resolves names on behalf of containers and would carry questions out of `platform`: nobody answers there.
      return { mode: name, dns: network === 'platform' ? [gateway] : [] };
    },
    async forBuilds() {
      return (await walled('open')).bridges.open.name;
    },
    async apiUrl(network) {
      if (network === 'none') return null;
      const { bridges, forwarder: door } = await require(network);
      return `http://${bridges[network].gateway}:${door.port}`;
    },
    async tidy() {
      for (const { name, home } of await listNetworks(docker)) {
        if (home !== stateDir && (await isGone(home))) await removeNetwork(docker, name);
      }
    },
    async close() {
      await holding?.catch(() => undefined);
      if (forwarder === null) return;
      await (await forwarder).close();
      forwarder = null;
      const own = (await listNetworks(docker)).filter(({ home }) => home === stateDir);
      const removed = await Promise.all(own.map(({ name }) => removeNetwork(docker, name)));
      if (removed.every(Boolean)) await firewall.remove(node);
    },
  };
}

function requireWithin(network: Network, most: Network): void {
  if (isWithin(network, most)) return;
  throw new DomainError(
    'network-not-enforceable',
    `The stage asks for network '${network}', but this node gives at most '${most}': ask for that, or use another pool.`,
  );
}

function notEnforceable(network: Network, error: unknown): Error {
  const { path, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
  const reason =
    path?.startsWith('iptables') === true
      ? 'iptables is not installed'
      : (stderr?.trim() || message).split('\n')[0] || 'nobody knows why';
  return new DomainError(
    'network-not-enforceable',
    `The stage asks for network '${network}', which this node can not enforce: ${reason}. Run its worker as root with iptables beside the engine, or ask for network 'none'.`,
  );
}

const portFile = (stateDir: string): string => join(stateDir, '.forwarder-port');

const portTries = 5;
/** Rules that others displace are written again so often, with a pause that grows. */
const displacedMax = 10;
const displacedPauseMs = 50;

/** A port that is free on one gateway may be taken on the other. */
async function openForwarder({ stateDir, apiUrl }: NetworksOptions, addresses: string[]): Promise<Forwarder> {
  const kept = Number(await readFile(portFile(stateDir), 'utf8').catch(() => '')) || null;
  for (let tries = 1; ; tries += 1) {
    try {
      const forwarder = await startForwarder(new URL(apiUrl), addresses, tries === 1 ? kept : null);
      await mkdir(stateDir, { recursive: true, mode: 0o700 });
      await writeFile(portFile(stateDir), String(forwarder.port), { mode: 0o600 });
      return forwarder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === portTries) throw error;
    }
  }
}

async function isGone(path: string): Promise<boolean> {
  return await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}
