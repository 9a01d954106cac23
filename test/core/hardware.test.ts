import { expect, it } from 'vitest';
import { describeHardware, type Hardware, hardwareOfStage, numericCpuFlags } from '#core/hardware.ts';

const gpu = { id: '0', uuid: 'GPU-a', name: 'NVIDIA H100 80GB HBM3', memoryMib: 81559, driver: '550.54' };
const node: Hardware = {
  host: 'n1',
  os: 'linux',
  arch: 'x64',
  kernel: '6.1',
  libc: 'glibc 2.36',
  cpuModel: 'AMD EPYC',
  cpuFlags: ['avx', 'avx2', 'fma'],
  cpuFlagsDigest: 'd',
  microcode: null,
  physicalCores: 8,
  logicalCores: 16,
  memoryBytes: 64 * 2 ** 30,
  gpus: [gpu, { ...gpu, id: '1', uuid: 'GPU-b' }, { ...gpu, id: '2', uuid: 'GPU-c' }],
  cuda: '12.4',
};

it('keeps of the flags those by which kernels are chosen', () => {
  const flags = 'fpu avx512f sse4_2 avx avx2 amx_bf16 fma avx512_vnni vme sve2 asimddp fma'.split(' ');
  expect(numericCpuFlags(flags)).toEqual([
    'amx_bf16',
    'asimddp',
    'avx',
    'avx2',
    'avx512_vnni',
    'avx512f',
    'fma',
    'sse4_2',
    'sve2',
  ]);
});

it('a stage has the devices it was given, by index or by UUID', () => {
  const namesOf = (devices: string[]) => hardwareOfStage(node, devices).gpus.map(({ uuid }) => uuid);
  expect(namesOf(['1'])).toEqual(['GPU-b']);
  expect(namesOf(['GPU-a', '2'])).toEqual(['GPU-a', 'GPU-c']);
  expect(namesOf([])).toEqual([]);
});

it('is one line for people', () => {
  expect(describeHardware(hardwareOfStage(node, ['0', '1']))).toBe(
    'AMD EPYC, 16 CPUs, avx2, 64 GiB, 2 × NVIDIA H100 80GB HBM3, driver 550.54, CUDA 12.4',
  );
  expect(describeHardware(hardwareOfStage(node, []))).toBe('AMD EPYC, 16 CPUs, avx2, 64 GiB');
  expect(describeHardware({})).toBe('');
});
