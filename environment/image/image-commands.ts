// The commands that the packages of an image bring, as an overlay on this machine needs them.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { extract } from 'tar-stream';
import type { EnvironmentContext } from '#environment/context.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { removeTree } from '#environment/process/trees.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { asking } from './engine.ts';
import { type ImageEnvironment, venvInImage } from './environment-image.ts';
import { buildContainerName } from './run-in-container.ts';

export interface ImageCommands {
  /** A folder of this machine with the scripts. */
  scriptsDir: string;
  /** Names of other programs, which stay in the image. */
  programs: readonly string[];
}

const scriptBytesMax = 1024 ** 2;

/** Read from the image once per machine. */
export async function imageCommands(context: EnvironmentContext, { image }: ImageEnvironment): Promise<ImageCommands> {
  const folder = join(context.cacheDir, 'images', 'commands', image.replace('sha256:', ''));
  const list = join(folder, 'programs.json');
  if (!(await isFile(list))) await readCommands(context, image, folder);
  const programs = JSON.parse((await readText(list)) ?? '[]') as string[];
  return { scriptsDir: join(folder, 'bin'), programs };
}

async function readCommands(context: EnvironmentContext, image: string, folder: string): Promise<void> {
  await withWorkDirectory(context.cacheDir, async (work) => {
    const draft = join(work, 'commands');
    await mkdir(join(draft, 'bin'), { recursive: true });
    const programs = await extractCommands(context, image, join(draft, 'bin'));
    await writeFile(join(draft, 'programs.json'), JSON.stringify(programs), { flush: true });
    await mkdir(join(folder, '..'), { recursive: true });
    await removeTree(folder);
    await rename(draft, folder);
  });
}

async function extractCommands(context: EnvironmentContext, image: string, target: string): Promise<string[]> {
  const { images } = context;
  if (images === null) throw new TypeError('an image is read without an engine');
  const programs: string[] = [];
  await asking('the commands of an image were read', async () => {
    const name = buildContainerName(context.cacheDir);
    const settings = { name, Image: image, Cmd: ['/bin/sh'], HostConfig: { NetworkMode: 'none' } };
    const container = await images.docker.createContainer(settings);
    try {
      const archive = await container.getArchive({ path: `${venvInImage}/bin` });
      const entries = archive.pipe(extract() as unknown as NodeJS.ReadWriteStream) as unknown as ReturnType<
        typeof extract
      >;
      for await (const entry of entries) {
        const pieces: Buffer[] = [];
        let size = 0;
        for await (const piece of entry as unknown as AsyncIterable<Buffer>) {
          size += piece.length;
          if (size <= scriptBytesMax) pieces.push(piece);
        }
        if (entry.header.type !== 'file') continue;
        const command = basename(entry.header.name);
        const content = Buffer.concat(pieces);
        const isScript = size <= scriptBytesMax && content.subarray(0, 2).toString('latin1') === '#!';
        if (isScript) await writeFile(join(target, command), content, { mode: 0o755 });
        else if ((entry.header.mode & 0o111) !== 0) programs.push(command);
      }
    } finally {
      await container.remove({ force: true, v: true });
    }
  });
  return programs;
}
