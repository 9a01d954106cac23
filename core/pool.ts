// Which pool a stage goes to: the one it names, otherwise the smallest that fits.
import { DomainError } from './errors.ts';
import type { Stage } from './project.ts';

/** What one slot of a pool offers. */
export interface Shape {
  cpus: number;
  memoryGib: number;
  /** Lower case, for example `h100`; null without accelerators. */
  accelerator: string | null;
  /** How many accelerators. */
  devices: number;
}

export interface Pool {
  pool: string;
  shape: Shape;
}

/** `pools` come smallest first. Throws `pool-missing` with the shapes that exist. */
export function choosePool(stage: Stage, pools: readonly Pool[]): string {
  const named = stage.pool === null ? pools : pools.filter(({ pool }) => pool === stage.pool);
  const fitting = named.find(({ shape }) => fits(stage, shape));
  if (fitting !== undefined) return fitting.pool;
  const known = pools.map(({ pool, shape }) => `${pool} (${describeShape(shape)})`).join(', ') || 'none yet';
  throw new DomainError(
    'pool-missing',
    `Stage ${stage.name} asks for ${wanted(stage)}, which no pool offers. Pools: ${known}. Change the stage's resources or pool, or add a node.`,
  );
}

function fits(stage: Stage, shape: Shape): boolean {
  const { accelerators, cpus, memoryGib } = stage.resources;
  const typeFits = accelerators === null || accelerators.type === 'gpu' || accelerators.type === shape.accelerator;
  return (
    typeFits &&
    (accelerators?.count ?? 0) <= shape.devices &&
    (cpus ?? 0) <= shape.cpus &&
    (memoryGib ?? 0) <= shape.memoryGib
  );
}

export function describeShape(shape: Shape): string {
  const accelerators = shape.accelerator === null ? '' : `${shape.accelerator}:${shape.devices}, `;
  return `${accelerators}${shape.cpus} CPUs, ${shape.memoryGib} GiB`;
}

function wanted(stage: Stage): string {
  const { accelerators, cpus, memoryGib } = stage.resources;
  const parts = [
    stage.pool === null ? null : `pool ${stage.pool}`,
    accelerators === null ? null : `${accelerators.type}:${accelerators.count}`,
    cpus === null ? null : `${cpus} CPUs`,
    memoryGib === null ? null : `${memoryGib} GiB`,
  ];
  return parts.filter((part) => part !== null).join(', ') || 'a slot';
}

/** Fewest devices first, then fewest CPUs, then least memory. */
export function compareShapes(a: Shape, b: Shape): number {
  return a.devices - b.devices || a.cpus - b.cpus || a.memoryGib - b.memoryGib;
}

export function isSameShape(a: Shape, b: Shape): boolean {
  return compareShapes(a, b) === 0 && a.accelerator === b.accelerator;
}
