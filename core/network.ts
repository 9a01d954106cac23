// How far a stage may reach: open > platform > none.
import type { Network } from './project.ts';

const reach: Record<Network, number> = { none: 0, platform: 1, open: 2 };

/** Whether a stage that asks for `wanted` asks for no more than `most`. */
export function isWithin(wanted: Network, most: Network): boolean {
  return reach[wanted] <= reach[most];
}

/** How a server runs stages: plain processes can only be given an open network, containers any up to `networkMax`. */
export type RunnerOffer = { kind: 'process' } | { kind: 'docker'; networkMax: Network };

/** Null where the stage can have what it asks for, else the reason. */
export function whyNotNetwork(wanted: Network, offer: RunnerOffer): string | null {
  if (offer.kind === 'process') {
    return wanted === 'open'
      ? null
      : 'which a runner of plain processes can not enforce. Use network: open, or a server that runs stages in containers.';
  }
  return isWithin(wanted, offer.networkMax)
    ? null
    : `and this server gives at most network: ${offer.networkMax}. Ask for that, or have ASSAY_NETWORK_MAX raised.`;
}
