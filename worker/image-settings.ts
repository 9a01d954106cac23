import type Docker from 'dockerode';
import type { Networks } from '#activities/runners/docker/networks/networks.ts';
import type { ImageSettings } from '#environment/image/engine.ts';

interface ImagesSetting {
  base: string;
  buildCpus: number;
  buildMemoryBytes: number;
  loginsFile: string | null;
}

/** What makes environments into images; null where stages run as processes. */
export function imageSettings(
  images: ImagesSetting,
  docker: Docker | null,
  networks: Pick<Networks, 'forBuilds'> | null,
): ImageSettings | null {
  if (docker === null) return null;
  const { base: baseImage, buildCpus: cpus, buildMemoryBytes: memoryBytes, loginsFile } = images;
  // Walls are rules of the kernel, which only root can write.
  const network = networks !== null && process.getuid?.() === 0 ? () => networks.forBuilds() : null;
  return { docker, baseImage, limits: { memoryBytes, cpus }, loginsFile, network };
}
