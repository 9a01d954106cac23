// The identity of this stage-worker host and what it offers.
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { Gpu, Hardware } from '#core/hardware.ts';
import { offerOf, type Offer, type SlotSettings } from '#core/node-shape.ts';
import { findGpus, gpuType } from './gpus.ts';
import { readHardware } from './hardware.ts';

const bytesPerGib = 1024 ** 3;

export interface NodeIdentity extends Offer {
  id: string;
  /** Ids of the accelerators its slots hand out. */
  devices: string[];
  hardware: Hardware;
}

/** What the configuration says of this node. */
export interface NodeSettings extends SlotSettings {
  /** Null takes the devices that the vendor's tool lists. */
  deviceIds: readonly string[] | null;
  accelerator: string | null;
}

/** The id is kept on disk, so that a worker that comes back finds the stages it left running. @throws shape-mismatch */
export async function identifyNode(home: string, settings: NodeSettings): Promise<NodeIdentity> {
  const found = await findGpus();
  const { gpus } = found;
  const devices = chooseDevices(gpus, settings.deviceIds);
  const machine = {
    cpus: availableParallelism(),
    memoryGib: Math.max(1, Math.floor(totalmem() / bytesPerGib)),
    accelerator:
      settings.accelerator ?? kindOf(gpus.filter(({ id, uuid }) => devices.includes(id) || devices.includes(uuid))),
    devices,
  };
  const offer = offerOf(machine, settings);
  return {
    id: await nodeId(home),
    ...offer,
    devices: offer.shape.devices === 0 ? [] : devices,
    hardware: await readHardware(found),
  };
}

function chooseDevices(gpus: readonly Gpu[], asked: readonly string[] | null): string[] {
  const devices = asked === null ? gpus.map(({ id }) => id) : [...asked];
  const repeated = devices.find((id, n) => devices.indexOf(id) !== n);
  if (repeated === undefined) return devices;
  throw new DomainError('shape-mismatch', `ASSAY_DEVICES names ${repeated} twice; a device can be handed out once.`);
}

/** A pool has one shape, so the devices of a node are of one kind. */
function kindOf(gpus: readonly Gpu[]): string {
  const kinds = [...new Set(gpus.map(gpuType))];
  if (kinds.length <= 1) return kinds[0] ?? 'gpu';
  throw new DomainError(
    'shape-mismatch',
    `This machine has accelerators of several kinds: ${kinds.join(', ')}. Name those of one kind in ASSAY_DEVICES.`,
  );
}

async function nodeId(home: string): Promise<string> {
  const file = join(home, 'node-id');
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const host = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .slice(0, 40);
  const id = `${host}-${randomUUID().slice(0, 8)}`;
  await mkdir(home, { recursive: true });
  await writeFile(file, `${id}\n`, { flag: 'wx' });
  return id;
}
