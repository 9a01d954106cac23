import { arch, platform } from 'node:os';
import { expect, it } from 'vitest';
import { gpuType, readCuda, readGpus } from '#worker/node/gpus.ts';
import { readCpuInfo, readHardware } from '#worker/node/hardware.ts';

const xeon = (processor: number, core: number) => `processor\t: ${processor}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
microcode\t: 0xffffffff
physical id\t: 0
core id\t\t: ${core}
flags\t\t: fpu vme avx avx2 avx512f amx_tile
`;

it('the CPU is read from what Linux says of x86 and of ARM', () => {
  expect(readCpuInfo([xeon(0, 0), xeon(1, 0), xeon(2, 1), xeon(3, 1)].join('\n'))).toEqual({
    model: 'Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz',
    flags: ['fpu', 'vme', 'avx', 'avx2', 'avx512f', 'amx_tile'],
    microcode: '0xffffffff',
    physicalCores: 2,
  });
  const arm =
    'processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\nprocessor\t: 1\n';
  expect(readCpuInfo(arm)).toEqual({
    model: 'ARM 0x41/0xd40',
    flags: ['fp', 'asimd', 'sve'],
    microcode: null,
    physicalCores: null,
  });
  expect(readCpuInfo('')).toEqual({ model: null, flags: [], microcode: null, physicalCores: null });
});

it("NVIDIA's tool names devices, driver and CUDA", () => {
  const listing = '0, GPU-a, NVIDIA H100 80GB HBM3, 81559, 550.54.15\n1, GPU-b, Tesla T4, 15360, 550.54.15\n';
  const gpus = readGpus(listing);
  expect(gpus[0]).toEqual({
    id: '0',
    uuid: 'GPU-a',
    name: 'NVIDIA H100 80GB HBM3',
    memoryMib: 81559,
    driver: '550.54.15',
  });
  expect(gpus.map(gpuType)).toEqual(['h100', 't4']);
  expect(readCuda('| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |')).toBe('12.4');
  expect(readCuda('')).toBeNull();
});

it('this machine has a fingerprint', async () => {
  const found = await readHardware({ gpus: [], cuda: null });
  expect(found).toMatchObject({ os: platform(), arch: arch(), logicalCores: expect.any(Number) });
  expect(found.cpuModel).not.toBe('');
  if (platform() === 'linux') {
    expect(found.libc).toMatch(/^(glibc \d|musl)/);
    expect(found.cpuFlagsDigest).toMatch(/^[0-9a-f]{32}$/);
  }
});
