// Installing as another account: what it may write is given to it before, and taken back after.
import { lchown, lstat, mkdir } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { type EnvironmentContext, uvCacheDir, wheelsDir } from '#environment/context.ts';
import type { Base } from '#environment/image/base.ts';
import { runInContainer } from '#environment/image/run-in-container.ts';
import { type CommandOptions, type CommandResult, runCommand } from './command.ts';
import { walk } from './trees.ts';
import { withWorkDirectory } from './work-directory.ts';

type Context = Pick<EnvironmentContext, 'base' | 'builder' | 'cacheDir' | 'images' | 'index' | 'installingEnv'>;

export interface InstallingOptions extends Omit<CommandOptions, 'env' | 'account'> {
  /** Further files and folders that the program reads. A container has nothing else. */
  reads?: readonly string[];
  /** The program is the image's own. */
  isOfImage?: boolean;
}

/**
 * Runs a program that may run code of packages: in a container where the context has a base image, otherwise as the
 * builder where there is one. `work` is the directory of the unit of work; everything in it is given to the builder first.
 */
export async function runInstalling(
  context: Context,
  work: string,
  program: string,
  args: readonly string[],
  { reads = [], isOfImage = false, ...options }: InstallingOptions,
): Promise<CommandResult> {
  const { base, builder, cacheDir, installingEnv } = context;
  if (builder === null && base === null) return await runCommand(program, args, { ...options, env: installingEnv });
  return await withWorkDirectory(cacheDir, async (home) => {
    if (builder !== null) {
      await openOwn(uvCacheDir(cacheDir, base), builder);
      for (const folder of [work, home]) await chownTree(folder, builder);
    }
    // A home of its own: settings that a package leaves there are read by no other program, of whatever project.
    const env = { ...installingEnv, HOME: home };
    if (base !== null)
      return await runInBase(
        { ...context, installingEnv: env },
        base,
        [work, home],
        isOfImage ? reads : [program, ...reads],
        program,
        args,
        options,
      );
    return await runCommand(program, args, { ...options, env, ...(builder === null ? {} : { account: builder }) });
  });
}

async function runInBase(
  { images, builder, cacheDir, index, installingEnv }: Context,
  base: Base,
  writes: readonly string[],
  reads: readonly string[],
  program: string,
  args: readonly string[],
  options: CommandWatching,
): Promise<CommandResult> {
  if (images === null) throw new TypeError('a base image is given without an engine');
  const cache = uvCacheDir(cacheDir, base);
  const read = [wheelsDir(cacheDir), ...(index.findLinks ?? []).filter(isAbsolute), ...reads];
  for (const folder of [cache, wheelsDir(cacheDir)]) await mkdir(folder, { recursive: true });
  const env = { ...installingEnv, UV_CACHE_DIR: cache };
  const user = builder ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const folders = { writes: [...writes, cache], reads: [...read, ...(options.cwd === undefined ? [] : [options.cwd])] };
  return await runInContainer({ ...options, images, base, cacheDir, user, env, folders, network: true }, program, args);
}

type CommandWatching = Pick<CommandOptions, 'cwd' | 'onLine' | 'signal'>;

/** What was built belongs to this process again, so that the builder can not change it later. */
export async function takeBack(context: Context, folder: string): Promise<void> {
  if (context.builder === null) return;
  await chownTree(folder, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
}

type Owner = NonNullable<Context['builder']>;

async function openOwn(folder: string, owner: Owner): Promise<void> {
  await mkdir(folder, { recursive: true });
  if ((await lstat(folder)).uid !== owner.uid) await chownTree(folder, owner);
}

/** Links themselves change hands, never what they point to. */
async function chownTree(folder: string, { uid, gid }: Owner): Promise<void> {
  await lchown(folder, uid, gid);
  await walk(folder, (path) => lchown(path, uid, gid));
}
