// The machine of an attempt, as far as it can change a number or explain why one differs.

export interface Gpu {
  /** Index, as the vendor's tool counts. */
  id: string;
  uuid: string;
  name: string;
  memoryMib: number;
  driver: string;
}

export interface Hardware {
  host: string;
  os: string;
  arch: string;
  kernel: string;
  /** What the stage ran on, for example `glibc 2.36`; in a container the image's. Empty where there is none to name. */
  libc: string;
  cpuModel: string;
  /** Instruction sets by which numeric libraries choose their kernels. */
  cpuFlags: string[];
  /** The first half of the sha256 over all flags, sorted; null where the system does not list them. */
  cpuFlagsDigest: string | null;
  microcode: string | null;
  /** Null where the system does not say. */
  physicalCores: number | null;
  logicalCores: number;
  memoryBytes: number;
  /** Those of the stage; of a node, all. */
  gpus: Gpu[];
  /** The newest version of CUDA that the driver serves. */
  cuda: string | null;
  /** Id of the image that the command ran in. */
  image?: string;
}

const numericFlags =
  /^(sse4_2|avx|avx2|avx_\w+|avx512\w*|avx10\w*|fma|f16c|amx\w*|neon|asimd\w*|sve\w*|sme\w*|i8mm|bf16|fphp)$/;

export function numericCpuFlags(flags: readonly string[]): string[] {
  return [...new Set(flags)].filter((flag) => numericFlags.test(flag)).sort();
}

/** The node with the devices of one stage. */
export function hardwareOfStage(node: Hardware, devices: readonly string[]): Hardware {
  const gpus = node.gpus.filter(({ id, uuid }) => devices.includes(id) || devices.includes(uuid));
  return { ...node, gpus };
}

const bytesPerGib = 2 ** 30;

/** One line for people: what decides speed and rounding, and nothing else. */
export function describeHardware(hardware: Partial<Hardware>): string {
  const { cpuModel, cpuFlags = [], logicalCores, memoryBytes, gpus = [], cuda } = hardware;
  const widest = ['avx512f', 'avx2', 'avx', 'sve', 'asimd'].find((flag) => cpuFlags.includes(flag));
  const kinds = Map.groupBy(gpus, ({ name }) => name);
  const driver = gpus[0] && [`driver ${gpus[0].driver}`, cuda && `CUDA ${cuda}`].filter(Boolean).join(', ');
  return [
    cpuModel,
    logicalCores && `${logicalCores} ${logicalCores === 1 ? 'CPU' : 'CPUs'}`,
    widest,
    memoryBytes && `${Math.round(memoryBytes / bytesPerGib)} GiB`,
    ...[...kinds].map(([name, list]) => (list.length === 1 ? name : `${list.length} × ${name}`)),
    driver,
  ]
    .filter(Boolean)
    .join(', ');
}
