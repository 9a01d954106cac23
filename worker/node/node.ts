// The identity of this stage-worker host, its shape and its lease.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { arch, cpus, hostname, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Shape } from '#core/pool.ts';
import type { Database } from '#db/connect.ts';
import { releaseNode, renewNode } from '#db/nodes.ts';
import type { Logger } from '#worker/logger.ts';

export const leaseMs = 20_000;
const renewMs = 5_000;

export interface NodeIdentity {
  id: string;
  pool: string;
  slots: number;
  shape: Shape;
  hardware: Record<string, unknown>;
}

/** What the configuration says of this node's slots. */
export interface PoolOffer {
  name: string;
  slots: number;
  cpus: number;
  memoryGib: number;
}

/** The id is kept on disk, so that a worker that comes back finds the stages it left running. */
export async function identifyNode(home: string, pool: PoolOffer): Promise<NodeIdentity> {
  const gpus = await findGpus();
  const first = gpus[0];
  const shape: Shape = {
    cpus: pool.cpus,
    memoryGib: pool.memoryGib,
    accelerator: first === undefined ? null : first.type,
    devices: gpus.map((gpu) => gpu.id),
  };
  return { id: await nodeId(home), pool: pool.name, slots: pool.slots, shape, hardware: hardware(gpus) };
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

interface Gpu {
  id: string;
  name: string;
  /** The model's short name in lower case, for example `h100`. */
  type: string;
  memoryMib: number;
  driver: string;
}

/** Without NVIDIA's tool there are no accelerators this worker could hand out. */
async function findGpus(): Promise<Gpu[]> {
  const query = ['--query-gpu=index,name,memory.total,driver_version', '--format=csv,noheader,nounits'];
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', query, { timeout: 10_000 });
    return stdout.trim().split('\n').filter(Boolean).map(readGpu);
  } catch {
    return [];
  }
}

function readGpu(line: string): Gpu {
  const [id = '', name = '', memory = '0', driver = ''] = line.split(',').map((field) => field.trim());
  const model = /\b([a-z]{1,4}\d{1,4}[a-z]?)\b/i.exec(name.replace(/nvidia|tesla|geforce/gi, ''));
  return { id, name, type: (model?.[1] ?? 'gpu').toLowerCase(), memoryMib: Number(memory), driver };
}

function hardware(gpus: Gpu[]): Record<string, unknown> {
  return {
    host: hostname(),
    arch: arch(),
    kernel: release(),
    cpuModel: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
    memoryBytes: totalmem(),
    gpus: gpus.map(({ name, memoryMib, driver }) => ({ name, memoryMib, driver })),
  };
}

export interface Lease {
  stop(): Promise<void>;
}

/** Registers the node before anything polls, and renews until stopped. */
export async function holdLease(db: Database, node: NodeIdentity, log: Logger): Promise<Lease> {
  const { id, pool, slots, shape } = node;
  const row = { id, pool, slots, shape, hardware: node.hardware, host: hostname() };
  await renewNode(db, row, leaseMs);
  const timer = setInterval(() => {
    renewNode(db, row, leaseMs).catch((error: unknown) => log.warn({ error }, 'the node lease was not renewed'));
  }, renewMs);
  return {
    async stop() {
      clearInterval(timer);
      await releaseNode(db, id).catch((error: unknown) => log.warn({ error }, 'the node lease was not released'));
    },
  };
}
