// The two networks of this node's stages. Names and bridges carry the node, so that homes on one engine do not meet.

import type Docker from 'dockerode';
import type { NetworkInspectInfo } from 'dockerode';
import { ask, hasStatus, orNull } from '#activities/runners/docker/engine.ts';

export type Bridged = 'open' | 'platform';

export interface Bridge {
  name: string;
  /** The interface on the node; rules name it. At most 15 characters. */
  device: string;
  gateway: string;
}

const homeLabel = 'org.assay.home';

/** What all our devices of a node begin with. */
export const devicePrefix = (node: string): string => `as${node.slice(0, 8)}`;

const networkName = (node: string, kind: Bridged): string => `assay-${kind}-${node}`;
const deviceName = (node: string, kind: Bridged): string => `${devicePrefix(node)}${kind === 'open' ? 'o' : 'p'}`;

/** Finds the network or makes it. A network of that name that is not as we make it is refused. */
export async function ensureBridge(docker: Docker, node: string, home: string, kind: Bridged): Promise<Bridge> {
  const name = networkName(node, kind);
  const info = (await inspect(docker, name)) ?? (await create(docker, node, home, kind));
  const device = info.Options?.['com.docker.network.bridge.name'];
  const gateway = info.IPAM?.Config?.[0]?.Gateway?.split('/')[0];
  const isOurs =
    info.Driver === 'bridge' &&
    info.Internal === (kind === 'platform') &&
    info.EnableIPv6 === false &&
    device === deviceName(node, kind) &&
    info.Options?.['com.docker.network.bridge.enable_icc'] === 'false';
  if (!isOurs || gateway === undefined) {
    throw new Error(`The Docker network ${name} is not as Assay makes it; remove it with: docker network rm ${name}`);
  }
  return { name, device, gateway };
}

async function inspect(docker: Docker, name: string): Promise<NetworkInspectInfo | null> {
  return await orNull(ask(() => docker.getNetwork(name).inspect() as Promise<NetworkInspectInfo>));
}

/** Without IPv6, which the rules would have to be repeated for; containers on such a network have none at all. */
async function create(docker: Docker, node: string, home: string, kind: Bridged): Promise<NetworkInspectInfo> {
  const name = networkName(node, kind);
  try {
    await ask(() =>
      docker.createNetwork({
        Name: name,
        Driver: 'bridge',
        CheckDuplicate: true,
        Internal: kind === 'platform',
        EnableIPv6: false,
        Options: {
          'com.docker.network.bridge.name': deviceName(node, kind),
          'com.docker.network.bridge.enable_icc': 'false',
        },
        Labels: { [homeLabel]: home },
      }),
    );
  } catch (error) {
    // Somebody else made it meanwhile.
    if (!hasStatus(error, 409)) throw error;
  }
  const made = await inspect(docker, name);
  if (made === null) throw new Error(`The Docker network ${name} was removed while it was made.`);
  return made;
}

/** True when it is gone now; false while containers use it. */
export async function removeNetwork(docker: Docker, name: string): Promise<boolean> {
  try {
    await orNull(ask(() => docker.getNetwork(name).remove()));
    return true;
  } catch (error) {
    if (hasStatus(error, 403, 409)) return false;
    throw error;
  }
}

/** Networks of Assay on this engine, of whichever home. */
export async function listNetworks(docker: Docker): Promise<Array<{ name: string; home: string }>> {
  const found = await ask(() => docker.listNetworks({ filters: { label: [homeLabel] } }));
  return found.map(({ Name, Labels }) => ({ name: Name, home: Labels?.[homeLabel] ?? '' }));
}
