// Hands out a node's devices exactly once. Devices of launches found running are taken before the node polls.

export interface Devices {
  /** The wanted number of devices, or null when fewer are free. */
  take(launch: string, count: number): string[] | null;
  /** Marks devices of an adopted launch as taken. */
  adopt(launch: string, devices: readonly string[]): void;
  free(launch: string): void;
}

export function createDevices(all: readonly string[]): Devices {
  const taken = new Map<string, readonly string[]>();
  const isFree = (device: string) => ![...taken.values()].some((devices) => devices.includes(device));
  return {
    take(launch, count) {
      const free = all.filter(isFree).slice(0, count);
      if (free.length < count) return null;
      taken.set(launch, free);
      return free;
    },
    adopt: (launch, devices) => void taken.set(launch, devices),
    free: (launch) => void taken.delete(launch),
  };
}
