// The fingerprint of this host, kept on every attempt that it runs.
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { arch, cpus, hostname, platform, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { type Hardware, numericCpuFlags } from '#core/hardware.ts';
import type { FoundGpus } from './gpus.ts';

const digestLength = 32;

export async function readHardware({ gpus, cuda }: FoundGpus): Promise<Hardware> {
  const cpu = platform() === 'darwin' ? await readMac() : readCpuInfo(await readOr('/proc/cpuinfo'));
  return {
    host: hostname(),
    os: platform(),
    arch: arch(),
    kernel: release(),
    libc: await readLibc(),
    cpuModel: cpu.model ?? cpus()[0]?.model ?? 'unknown',
    cpuFlags: numericCpuFlags(cpu.flags),
    cpuFlagsDigest: cpu.flags.length === 0 ? null : digestOf(cpu.flags),
    microcode: cpu.microcode,
    physicalCores: cpu.physicalCores,
    logicalCores: cpus().length,
    memoryBytes: totalmem(),
    gpus,
    cuda,
  };
}

interface Cpu {
  model: string | null;
  flags: string[];
  microcode: string | null;
  physicalCores: number | null;
}

/** Reads /proc/cpuinfo of x86 and of ARM, which spells its names otherwise and says nothing of cores. */
export function readCpuInfo(text: string): Cpu {
  const processors = text.split(/\n\s*\n/).map((block) => {
    const fields = block.split('\n').map((line) => line.split(/\s*:\s*/, 2));
    return new Map(
      fields.flatMap(([name, value]) => (name && value !== undefined ? [[name.trim(), value.trim()]] : [])),
    );
  });
  const valueOf = (...names: string[]) => {
    for (const fields of processors) for (const name of names) if (fields.get(name)) return fields.get(name) ?? null;
    return null;
  };
  const cores = processors.flatMap((fields) => {
    const core = fields.get('core id');
    return core === undefined ? [] : [`${fields.get('physical id')}/${core}`];
  });
  const part = valueOf('CPU part');
  return {
    model: valueOf('model name', 'Hardware') ?? (part && `ARM ${valueOf('CPU implementer')}/${part}`),
    flags: (valueOf('flags', 'Features') ?? '').split(/\s+/).filter(Boolean),
    microcode: valueOf('microcode'),
    physicalCores: cores.length === 0 ? null : new Set(cores).size,
  };
}

async function readMac(): Promise<Cpu> {
  const [model, cores, features] = await Promise.all([
    outputOf('sysctl', '-n', 'machdep.cpu.brand_string'),
    outputOf('sysctl', '-n', 'hw.physicalcpu'),
    outputOf('sysctl', '-n', 'machdep.cpu.features', 'machdep.cpu.leaf7_features'),
  ]);
  const flags = (features ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  return { model, flags, microcode: null, physicalCores: cores === null ? null : Number(cores) };
}

/** musl has no such question. */
async function readLibc(): Promise<string> {
  if (platform() !== 'linux') return '';
  return (await outputOf('getconf', 'GNU_LIBC_VERSION')) ?? 'musl';
}

function digestOf(flags: readonly string[]): string {
  const text = [...new Set(flags)].sort().join(' ');
  return createHash('sha256').update(text).digest('hex').slice(0, digestLength);
}

async function readOr(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}

async function outputOf(program: string, ...args: string[]): Promise<string | null> {
  const run = promisify(execFile)(program, args, { timeout: 5_000 });
  const { stdout } = await run.catch(() => ({ stdout: '' }));
  return stdout.trim() || null;
}
