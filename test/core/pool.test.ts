import { describe, expect, it } from 'vitest';
import { choosePool, isSameShape, type Pool } from '#core/pool.ts';
import type { Resources, Stage } from '#core/project.ts';

const shape = { cpus: 8, memoryGib: 32, accelerator: null, devices: 0 };
const pools: Pool[] = [
  { pool: 'cpu', shape },
  { pool: 'h100.x1', shape: { cpus: 12, memoryGib: 100, accelerator: 'h100', devices: 1 } },
  { pool: 'h100.x8', shape: { cpus: 96, memoryGib: 800, accelerator: 'h100', devices: 8 } },
];
const nothing: Resources = { accelerators: null, cpus: null, memoryGib: null, nodes: 1 };
const stage = (resources: Partial<Resources>, pool: string | null = null) =>
  ({ name: 'train', resources: { ...nothing, ...resources }, pool }) as Stage;

describe('the pool of a stage', () => {
  it.each([
    [{}, 'cpu'],
    [{ memoryGib: 64 }, 'h100.x1'],
    [{ accelerators: { type: 'gpu', count: 1 } }, 'h100.x1'],
    [{ accelerators: { type: 'h100', count: 2 } }, 'h100.x8'],
  ])('is the smallest that fits %o', (resources, expected) => {
    expect(choosePool(stage(resources), pools)).toBe(expected);
  });

  it('is the one it names', () => {
    expect(choosePool(stage({}, 'h100.x8'), pools)).toBe('h100.x8');
  });

  it.each([[stage({ accelerators: { type: 'a100', count: 1 } })], [stage({ cpus: 9 }, 'cpu')], [stage({}, 'tpu')]])(
    'is refused with the shapes that exist when none fits',
    (asks) => {
      expect(() => choosePool(asks, pools)).toThrow(/cpu \(8 CPUs, 32 GiB\), h100\.x1 \(h100:1, 12 CPUs, 100 GiB\)/);
    },
  );
});

it('shapes are the same only if everything is', () => {
  expect(isSameShape(shape, { ...shape })).toBe(true);
  expect(isSameShape(shape, { ...shape, memoryGib: 31 })).toBe(false);
  expect(
    isSameShape({ ...shape, devices: 1, accelerator: 'h100' }, { ...shape, devices: 1, accelerator: 'a100' }),
  ).toBe(false);
});
