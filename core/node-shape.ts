// What a node offers, from what its machine has and what its settings say: slots of one shape, and the pool they are in.
import { DomainError } from './errors.ts';
import type { Shape } from './pool.ts';

export interface Machine {
  cpus: number;
  memoryGib: number;
  /** Lower case, for example `h100`; null without accelerators. */
  accelerator: string | null;
  devices: readonly string[];
}

/** Null leaves it to the machine. */
export interface SlotSettings {
  name: string | null;
  slots: number | null;
  cpus: number | null;
  memoryGib: number | null;
  devices: number | null;
}

export interface Offer {
  pool: string;
  slots: number;
  shape: Shape;
}

/**
 * With accelerators: one slot per device unless said otherwise, and the machine's CPUs and memory are divided among the
 * slots. Without: as many slots as CPUs, which share the machine. @throws shape-mismatch when a slot does not fit.
 */
export function offerOf(machine: Machine, settings: SlotSettings): Offer {
  const devices = settings.devices ?? Math.min(1, machine.devices.length);
  const wanted = { devices, cpus: settings.cpus ?? 0, memoryGib: settings.memoryGib ?? 0 };
  requireFit(machine, wanted);
  const fitting = Math.max(1, Math.min(...limits(machine, wanted), ...(devices === 0 ? [machine.cpus] : [])));
  const slots = settings.slots ?? fitting;
  if (devices * slots > machine.devices.length) {
    throw new DomainError(
      'shape-mismatch',
      `ASSAY_SLOTS is ${slots} with ${devices} devices each, but this machine has ${machine.devices.length}. Lower ASSAY_SLOTS or ASSAY_SLOT_GPUS.`,
    );
  }
  const share = devices > 0 ? slots : 1;
  const shape: Shape = {
    cpus: settings.cpus ?? Math.max(1, Math.floor(machine.cpus / share)),
    memoryGib: settings.memoryGib ?? Math.max(1, Math.floor(machine.memoryGib / share)),
    accelerator: devices > 0 ? machine.accelerator : null,
    devices,
  };
  return { pool: settings.name ?? poolName(shape), slots, shape };
}

interface Wanted {
  devices: number;
  cpus: number;
  memoryGib: number;
}

/** How many slots each thing that a slot asks for allows. */
function limits(machine: Machine, wanted: Wanted): number[] {
  const allow = (has: number, each: number) => (each === 0 ? [] : [Math.floor(has / each)]);
  return [
    ...allow(machine.devices.length, wanted.devices),
    ...allow(machine.cpus, wanted.cpus),
    ...allow(machine.memoryGib, wanted.memoryGib),
  ];
}

function requireFit(machine: Machine, { devices }: Wanted): void {
  if (devices <= machine.devices.length) return;
  throw new DomainError(
    'shape-mismatch',
    `ASSAY_SLOT_GPUS is ${devices}, but this machine has ${machine.devices.length} devices. Lower it, or name the devices in ASSAY_DEVICES.`,
  );
}

/** `cpu`, or the accelerator with the number in one slot: `h100.x1`. */
function poolName({ accelerator, devices }: Shape): string {
  return devices === 0 ? 'cpu' : `${accelerator ?? 'gpu'}.x${devices}`;
}
