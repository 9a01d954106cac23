import type Docker from 'dockerode';
import type { ImageSettings } from '#environment/image/engine.ts';

interface ImagesSetting {
  base: string;
  buildCpus: number;
  buildMemoryBytes: number;
  loginsFile: string | null;
}

/** What makes environments into images; null where stages run as processes. */
export function imageSettings(images: ImagesSetting, docker: Docker | null): ImageSettings | null {
  if (docker === null) return null;
  const { base: baseImage, buildCpus: cpus, buildMemoryBytes: memoryBytes, loginsFile } = images;
  return { docker, baseImage, limits: { memoryBytes, cpus }, loginsFile };
}
