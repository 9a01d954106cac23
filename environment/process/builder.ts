// Installing as another account: what it may write is given to it before, and taken back after.
import { lchown, lstat, mkdir } from 'node:fs/promises';
import { builderHome, type EnvironmentContext, uvCacheDir } from '#environment/context.ts';
import { type CommandOptions, type CommandResult, runCommand } from './command.ts';
import { walk } from './trees.ts';

type Context = Pick<EnvironmentContext, 'builder' | 'cacheDir' | 'installingEnv'>;

/**
 * Runs a program that may run code of packages, as the builder where there is one. `work` is the directory of the unit of
 * work; everything in it is given to the builder first.
 */
export async function runInstalling(
  context: Context,
  work: string,
  program: string,
  args: readonly string[],
  options: Omit<CommandOptions, 'env' | 'account'>,
): Promise<CommandResult> {
  const { builder, cacheDir, installingEnv: env } = context;
  if (builder === null) return await runCommand(program, args, { ...options, env });
  for (const own of [uvCacheDir(cacheDir), builderHome(cacheDir)]) await openOwn(own, builder);
  await chownTree(work, builder);
  return await runCommand(program, args, { ...options, env, account: builder });
}

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
