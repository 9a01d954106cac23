import { describe, expect, it } from 'vitest';
import { createSlots } from '#activities/stage/slots.ts';

const never = new AbortController().signal;

/** Whether a permit is given at once. */
async function isGranted(permit: Promise<object>): Promise<boolean> {
  return (await Promise.race([permit, new Promise((resolve) => setImmediate(() => resolve(null)))])) !== null;
}

describe('slots', () => {
  it('are given as permits until none is left, and again when one comes back', async () => {
    const permits = createSlots({ slots: 1, devices: [] }).permits();
    expect(await isGranted(permits.reserve(never))).toBe(true);
    const second = permits.reserve(never);
    expect(await isGranted(second)).toBe(false);
    permits.release();
    expect(await isGranted(second)).toBe(true);
  });

  it('of launches that were found running are not given out until those end', async () => {
    const slots = createSlots({ slots: 2, devices: ['0', '1'] });
    slots.adopt('found', ['0']);
    const permits = slots.permits();
    expect(await isGranted(permits.reserve(never))).toBe(true);
    const second = permits.reserve(never);
    expect(await isGranted(second)).toBe(false);
    slots.free('found');
    expect(await isGranted(second)).toBe(true);
  });

  it('are held by a launch beyond the permit it was taken with', async () => {
    const slots = createSlots({ slots: 1, devices: [] });
    const permits = slots.permits();
    await permits.reserve(never);
    slots.take('pending', 0);
    slots.rename('pending', 'launch');
    slots.uncover('launch');
    permits.release();
    const next = permits.reserve(never);
    expect(await isGranted(next)).toBe(false);
    expect(slots.uncovered()).toEqual(['launch']);
    slots.free('launch');
    expect(await isGranted(next)).toBe(true);
  });

  it('are not lost with a request that is taken back, nor with a worker that ends', async () => {
    const slots = createSlots({ slots: 1, devices: [] });
    const ending = slots.permits();
    await ending.reserve(never);
    const request = new AbortController();
    const refused = ending.reserve(request.signal);
    request.abort(new Error('not needed any more'));
    await expect(refused).rejects.toThrow('not needed');
    ending.close();
    expect(await isGranted(slots.permits().reserve(never))).toBe(true);
  });

  it('hand out each device once', () => {
    const slots = createSlots({ slots: 3, devices: ['0', '1', '2'] });
    slots.adopt('found', ['1']);
    expect(slots.take('a', 1)).toEqual(['0']);
    expect(slots.take('b', 2)).toBeNull();
    expect(slots.take('c', 1)).toEqual(['2']);
    slots.free('found');
    expect(slots.take('d', 1)).toEqual(['1']);
  });
});
