import { describe, expect, it } from 'vitest';
import { type Machine, offerOf, type SlotSettings } from '#core/node-shape.ts';

const nothingSaid: SlotSettings = { name: null, slots: null, cpus: null, memoryGib: null, devices: null };
const plain: Machine = { cpus: 16, memoryGib: 64, accelerator: 'gpu', devices: [] };
const eight: Machine = {
  cpus: 96,
  memoryGib: 800,
  accelerator: 'h100',
  devices: ['0', '1', '2', '3', '4', '5', '6', '7'],
};

describe('what a node offers', () => {
  it('without accelerators is as many slots as CPUs, which share the machine', () => {
    expect(offerOf(plain, nothingSaid)).toEqual({
      pool: 'cpu',
      slots: 16,
      shape: { cpus: 16, memoryGib: 64, accelerator: null, devices: 0 },
    });
  });

  it('with accelerators is one slot per device and a share of the machine', () => {
    expect(offerOf(eight, nothingSaid)).toEqual({
      pool: 'h100.x1',
      slots: 8,
      shape: { cpus: 12, memoryGib: 100, accelerator: 'h100', devices: 1 },
    });
  });

  it('with all devices in one slot is named after them', () => {
    expect(offerOf(eight, { ...nothingSaid, devices: 8 })).toMatchObject({ pool: 'h100.x8', slots: 1 });
  });

  it('is as many slots as fit, by what each asks for', () => {
    expect(offerOf(plain, { ...nothingSaid, cpus: 4, memoryGib: 20 })).toMatchObject({ slots: 3 });
  });

  it('leaves devices alone that no slot asks for', () => {
    expect(offerOf(eight, { ...nothingSaid, devices: 0 })).toMatchObject({ pool: 'cpu', shape: { accelerator: null } });
  });

  it.each([
    ['a slot of more devices than there are', { devices: 9 }, /ASSAY_SLOT_GPUS is 9, but this machine has 8/],
    ['more slots than its devices allow', { devices: 2, slots: 5 }, /ASSAY_SLOTS is 5 with 2 devices each/],
  ])('is refused with %s', (_what, settings, message) => {
    expect(() => offerOf(eight, { ...nothingSaid, ...settings })).toThrow(message);
  });
});
