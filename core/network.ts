// How far a stage may reach: open > platform > none.
import type { Network } from './project.ts';

const reach: Record<Network, number> = { none: 0, platform: 1, open: 2 };

/** Whether a stage that asks for `wanted` asks for no more than `most`. */
export function isWithin(wanted: Network, most: Network): boolean {
  return reach[wanted] <= reach[most];
}
