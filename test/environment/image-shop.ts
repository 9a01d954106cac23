// A workshop whose environments become images on the engine of this machine.
import { randomUUID } from 'node:crypto';
import { chmod, cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { ensureBuilder } from '#activities/runners/stage-user.ts';
import { createContext, type EnvironmentContext, type EnvironmentOptions, inImage } from '#environment/context.ts';
import { type Base, type BaseChoice, type ImageContext, selectBase } from '#environment/image/base.ts';
import { type ImageEnvironment, materialiseImage, requirePython } from '#environment/image/environment-image.ts';
import { imagePython } from '#environment/image/image-python.ts';
import { environmentIdentity, environmentKey } from '#environment/key.ts';
import { resolve } from '#environment/resolve.ts';
import { findSource } from '#environment/sources/find-source.ts';
import { installingUv } from '#environment/uv/install-uv.ts';
import { testBaseImage } from '#test/support/docker.ts';
import { createWorkshop, type Workshop } from './workshop.ts';

export interface ImageShop extends Workshop {
  docker: Docker;
  context: EnvironmentContext & ImageContext;
  /** A further context, as another node of the same engine has it. */
  node(options?: Partial<EnvironmentOptions>): Promise<EnvironmentContext & ImageContext>;
  build(root: string, choice?: ImageChoice): Promise<BuiltImage>;
  /** Runs a program in an image as nobody, without a network; answers its output. */
  run(image: string, command: readonly string[], env?: readonly string[]): Promise<string>;
}

export interface ImageChoice extends Partial<Pick<BaseChoice, 'image' | 'dockerfile'>> {
  context?: EnvironmentContext & ImageContext;
  onLine?: (line: string) => void;
}

export interface BuiltImage extends ImageEnvironment {
  environmentKey: string;
  context: EnvironmentContext;
}

const made = new Set<string>();

export async function createImageShop(docker: Docker): Promise<ImageShop> {
  const shop = await createWorkshop();
  await chmod(shop.dir, 0o711);
  const builder = await ensureBuilder();
  const nonce = randomUUID();
  const node = async (options: Partial<EnvironmentOptions> = {}): Promise<EnvironmentContext & ImageContext> => {
    const images = { docker, baseImage: testBaseImage, limits: { memoryBytes: 2 ** 30, cpus: 2 } };
    const given = {
      cacheDir: join(shop.dir, 'cache'),
      variables: process.env,
      index: { noIndex: true, findLinks: [shop.index] },
      builder,
      images,
      ...options,
    };
    await bringUv(given.cacheDir, docker);
    return { ...createContext(given), images: given.images ?? images };
  };
  const context = await node();
  return {
    ...shop,
    docker,
    context,
    node,
    // Environments of one engine are shared, so what two test files make must not have one key.
    wheel: (name, version, content = {}) =>
      shop.wheel(name, version, {
        ...content,
        module: `${content.module ?? `version = '${version}'\n`}# ${nonce}\n`,
      }),
    async checkout(files) {
      const root = await shop.checkout(files);
      await chmod(root, 0o755);
      return root;
    },
    build: (root, choice = {}) => build(choice.context ?? context, root, choice),
    run: (image, command, env = []) => runIn(docker, image, command, env),
    async remove() {
      for (const image of made) await docker.getImage(image).remove({ force: true });
      made.clear();
      await shop.remove();
    },
  };
}

/** The uv of containers is installed once per machine, from the package index. */
async function bringUv(cacheDir: string, docker: Docker): Promise<void> {
  const shared = join(tmpdir(), 'assay-test-uv');
  const { Architecture: arch } = await docker.getImage(testBaseImage).inspect();
  const context = inImage(createContext({ cacheDir: shared, variables: process.env }), { arch } as Base);
  const uv = await installingUv(context);
  const place = join(uv.path, '..', '..');
  await cp(place, place.replace(shared, cacheDir), { recursive: true });
}

async function build(given: EnvironmentContext & ImageContext, root: string, choice: ImageChoice): Promise<BuiltImage> {
  const { image = null, dockerfile = null, onLine } = choice;
  const source = await findSource(root);
  const base = await selectBase(given, { root, image, dockerfile, python: source.python }, { onLine });
  const context = inImage(given, base);
  const { interpreter } = await imagePython(context, base, source.python);
  if (source.kind !== 'none') requirePython(base, interpreter);
  const lock = await resolve(context, { root, source, interpreter, onLine });
  const key = environmentKey(environmentIdentity(lock.sha256, interpreter, base.digest));
  const built = await materialiseImage(context, { environmentKey: key, lock, interpreter, onLine });
  if (built.venv !== null) made.add(built.image);
  return { ...built, environmentKey: key, context };
}

async function runIn(
  docker: Docker,
  image: string,
  command: readonly string[],
  env: readonly string[],
): Promise<string> {
  const container = await docker.createContainer({
    Image: image,
    Entrypoint: [command[0] ?? ''],
    Cmd: command.slice(1),
    Env: ['PATH=/opt/assay/environment/bin:/usr/bin:/bin', ...env],
    User: '65534:65534',
    Tty: true,
    HostConfig: { NetworkMode: 'none', ReadonlyRootfs: true, Binds: [] },
  });
  try {
    await container.start();
    await container.wait();
    return String(await container.logs({ stdout: true, stderr: true }))
      .replaceAll('\r\n', '\n')
      .trim();
  } finally {
    await container.remove({ force: true });
  }
}
