import type { Node } from '#contract/nodes.ts';

/** What one slot offers, for example `8 CPUs, 64 GiB, 1 × h100`. */
export function describeSlot({ cpus, memoryGib, accelerator, devices }: Node['shape']): string {
  const accelerators = devices === 0 ? '' : `, ${devices} × ${accelerator ?? 'gpu'}`;
  return `${cpus} CPUs, ${memoryGib} GiB${accelerators}`;
}
