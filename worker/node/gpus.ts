// The accelerators of this host, as NVIDIA's tool lists them.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Gpu } from '#core/hardware.ts';

const patience = { timeout: 10_000 };

export interface FoundGpus {
  gpus: Gpu[];
  /** The newest version of CUDA that the driver serves; null without a driver. */
  cuda: string | null;
}

/** Without NVIDIA's tool there are no accelerators this worker could hand out. */
export async function findGpus(): Promise<FoundGpus> {
  const query = ['--query-gpu=index,uuid,name,memory.total,driver_version', '--format=csv,noheader,nounits'];
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', query, patience);
    return { gpus: readGpus(stdout), cuda: await findCuda() };
  } catch {
    return { gpus: [], cuda: null };
  }
}

/** Its query has no field for it; the table it prints without arguments has. */
async function findCuda(): Promise<string | null> {
  const table = await promisify(execFile)('nvidia-smi', [], patience).catch(() => ({ stdout: '' }));
  return readCuda(table.stdout);
}

export function readCuda(table: string): string | null {
  return /CUDA Version\s*:\s*(\d+(?:\.\d+)*)/.exec(table)?.[1] ?? null;
}

export function readGpus(listing: string): Gpu[] {
  return listing
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [id = '', uuid = '', name = '', memory = '0', driver = ''] = line.split(',').map((field) => field.trim());
      return { id, uuid, name, memoryMib: Number(memory), driver };
    });
}

/** The model's short name in lower case, for example `h100`. */
export function gpuType({ name }: Gpu): string {
  const model = /\b([a-z]{1,4}\d{1,4}[a-z]?)\b/i.exec(name.replace(/nvidia|tesla|geforce/gi, ''));
  return (model?.[1] ?? 'gpu').toLowerCase();
}
