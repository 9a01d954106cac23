// Which commit a run is of, and seeing to it that the server has it.
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Run, SubmitRun } from '#contract/runs.ts';
import type { ProjectConfig } from '#core/project.ts';
import { ApiError } from '#sdk/api-error.ts';
import type { Client } from '#sdk/client.ts';
import { type Checkout, createPatch, readCheckout } from '#cli/checkout.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { isDirty, nameIgnoredInputs, refuseDirty } from './clean-checkout.ts';
import { readLocalProject } from './local-project.ts';
import { findRoot, projectFileName, projectNameAt } from './project-here.ts';
import { resolveCommit } from './resolve-commit.ts';
import { sendCommit } from './send-commit.ts';

export interface CodeChoice {
  project: string;
  body: Pick<SubmitRun, 'commit' | 'ref' | 'dirty'>;
}

interface CodeOptions {
  project?: string;
  ref?: string;
  dirty?: boolean;
  /** Replaces the project's stages. */
  command: readonly string[] | null;
}

/** The server's limit for a stored patch, before base64. */
const patchBytesMax = 6_000_000;

/**
 * Without `ref` and `like` it is HEAD of the checkout, which has to be clean unless `dirty` is asked for. With `like`
 * alone it is that run's commit, which the server has.
 */
export async function provideCode(
  context: Context,
  client: Client,
  options: CodeOptions,
  like: Run | null,
): Promise<CodeChoice> {
  if (like !== null && options.ref === undefined && !options.dirty) {
    return { project: options.project ?? like.project, body: {} };
  }
  const root = await findRoot(context.cwd);
  if (root === null && options.project !== undefined && options.ref !== undefined) {
    return { project: options.project, body: { ref: options.ref } };
  }
  const checkout = await readCheckout(context.cwd);
  refuseNested(root, checkout.root);
  const project = options.project ?? like?.project ?? (await projectNameAt(checkout.root));
  if (options.ref !== undefined) return provideRef(client, project, checkout, options.ref);
  if (!options.dirty) refuseDirty(context, checkout);
  const config = await checkProject(context, checkout.root, project, options.command);
  await nameIgnoredInputs(context, checkout, config);
  await ensureProject(client, project, checkout);
  const body =
    options.dirty && isDirty(checkout)
      ? await sendTree(client, project, checkout)
      : await sendHead(client, project, checkout);
  return { project, body: { ...body, ...(checkout.branch === null ? {} : { ref: checkout.branch }) } };
}

/**
 * The commit that a name stands for, in this checkout if it is one of the project, whose commit is sent if the server
 * lacks it; else as the server knows it.
 */
export async function provideCommit(
  { cwd }: Context,
  client: Client,
  project: string,
  ref: string,
): Promise<Pick<SubmitRun, 'commit' | 'ref'>> {
  const root = await findRoot(cwd);
  const isHere = root !== null && (await projectNameAt(root)) === project;
  if (isHere) return (await provideRef(client, project, await readCheckout(cwd), ref)).body;
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(ref) ? { commit: ref } : { ref };
}

/** A name that this checkout does not know is left to the server, which may fetch it. */
async function provideRef(client: Client, project: string, checkout: Checkout, ref: string): Promise<CodeChoice> {
  const commit = await resolveCommit(checkout.root, ref);
  if (commit === null) return { project, body: { ref } };
  await ensureProject(client, project, checkout);
  await sendCommit(client, project, checkout.root, commit);
  return { project, body: { commit, ...(isName(ref) ? { ref } : {}) } };
}

/** A branch or tag is remembered with the run; HEAD~1 or a hash say nothing beside the commit. */
function isName(ref: string): boolean {
  return /^[\w][\w./-]*$/.test(ref) && ref !== 'HEAD' && !/^[0-9a-f]{7,64}$/.test(ref);
}

async function sendHead(client: Client, project: string, { root, commit }: Checkout): Promise<CodeChoice['body']> {
  await sendCommit(client, project, root, commit);
  return { commit };
}

/** The working tree goes as a commit of its own on top of HEAD, and as the patch that is kept with the run. */
async function sendTree(client: Client, project: string, { root }: Checkout): Promise<CodeChoice['body']> {
  const tree = await createPatch(root);
  try {
    if (tree.patch.length > patchBytesMax) {
      throw new CliError(
        `The uncommitted changes are ${tree.patch.length} bytes; at most ${patchBytesMax} are stored. Commit them.`,
      );
    }
    await sendCommit(client, project, root, tree.commit, tree.objectDir);
    return { commit: tree.commit, dirty: { patch: tree.patch.toString('base64') } };
  } finally {
    await tree.remove();
  }
}

/** Code comes from the checkout, so the project gets no remote; a remote is given to it with `assay projects set`. */
async function ensureProject(client: Client, name: string, { branch }: Checkout): Promise<void> {
  try {
    await client.projects.get(name);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'not-found') throw error;
    await client.projects.create({ name, ...(branch === null ? {} : { defaultBranch: branch }) }).catch(ignoreConflict);
  }
}

/** Another call may have created it meanwhile. */
function ignoreConflict(error: unknown): void {
  if (!(error instanceof ApiError) || error.code !== 'conflict') throw error;
}

/** Silently running the repository around it instead would be a surprise. */
function refuseNested(found: string | null, root: string): void {
  if (found === null || realpathSync(found) === realpathSync(root)) return;
  throw new CliError(
    `${join(found, projectFileName)} is not at the root of its checkout, which is ${root}. Move it there, or make ${found} a repository of its own.`,
  );
}

/** The server would refuse the same at submit; here it costs no upload. What it accepts without effect is said. */
async function checkProject(
  { terminal }: Context,
  root: string,
  project: string,
  command: readonly string[] | null,
): Promise<ProjectConfig> {
  const { config, warnings } = await readLocalProject(root, command, project);
  for (const { file, line, message } of warnings) terminal.note(`${file}:${line} ${message}`);
  for (const sentence of config.notYet) terminal.note(sentence);
  return config;
}
