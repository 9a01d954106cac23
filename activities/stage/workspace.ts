// A stage's own directory on this node: code, parameters, data and what earlier stages produced, and nothing shared.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import picomatch from 'picomatch';
import { writeParamsFile } from '#contract/params-file.ts';
import { stageTree } from '#core/code-scope.ts';
import type { Listing } from '#core/outputs.ts';
import { narrowParams } from '#core/params.ts';
import type { Params, ProjectConfig, Stage } from '#core/project.ts';
import type { StageDirectories } from '#core/stage-variables.ts';
import type { Artifact } from '#db/outputs.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { namingDamage } from '#activities/damage.ts';
import { removeTree } from './remove-tree.ts';

export interface Workspace {
  /** The worker's own: what it notes here is out of the stage's reach when the worker is root. */
  folder: string;
  /** The stage's: it may change everything below. */
  root: string;
  /** Where the command starts: the stage's copy of the tree. */
  work: string;
  paramsFile: string;
  directories: StageDirectories;
}

/** Paths only; the same launch always has the same ones. */
export function workspaceOf(
  workDir: string,
  launch: string,
  config: ProjectConfig,
  { checkpoints }: Pick<Stage, 'checkpoints'>,
): Workspace {
  const folder = join(workDir, launch);
  const root = join(folder, 'stage');
  const work = join(root, 'work');
  const model = config.models[0]?.path ?? 'model';
  return {
    folder,
    root,
    work,
    paramsFile: join(root, 'params.json'),
    directories: {
      data: join(work, 'data'),
      input: work,
      output: join(work, 'outputs'),
      model: join(work, model.endsWith('/') || config.models.length === 0 ? model : dirname(model)),
      checkpoint: checkpoints === null ? join(root, 'checkpoints') : join(work, checkpoints),
      tensorboard: join(work, 'tensorboard'),
      home: join(root, 'home'),
      tmp: temporaryFolder(workDir, launch),
    },
  };
}

/**
 * Outside the workspace and short: libraries put Unix sockets here (data loaders of PyTorch do), and the path of a
 * socket holds about 100 bytes.
 */
function temporaryFolder(workDir: string, launch: string): string {
  const name = createHash('sha256').update(launch).digest('hex').slice(0, 12);
  return join(dirname(workDir), 'tmp', name);
}

/** Everything below which a launch has files of its own. */
export function workspaceFolders(workDir: string, launch: string): string[] {
  return [join(workDir, launch), temporaryFolder(workDir, launch)];
}

/** Everything a launch has on disk; what does not exist is no error. The folder goes last, because it is what is listed. */
export async function removeWorkspace(workDir: string, launch: string): Promise<void> {
  await removeTree(temporaryFolder(workDir, launch));
  await removeTree(join(workDir, launch));
}

export interface Material {
  config: ProjectConfig;
  stage: Stage;
  params: Params;
  /** A read-only directory with the commit's tree. */
  source: string;
  /** Outputs of the stages this one needs, in the order of the stages. */
  upstream: readonly Artifact[];
  /** Writes one name's data to a path below the working directory. */
  data: ReadonlyArray<{ to: string; write: (path: string) => Promise<void> }>;
  /** Name → value of secrets that are given as files. */
  secretFiles: Readonly<Record<string, string>>;
}

/** Makes the workspace anew; what an interrupted preparation left is removed first. */
export async function prepareWorkspace(store: BlobStore, space: Workspace, material: Material): Promise<void> {
  await removeWorkspace(dirname(space.folder), basename(space.folder));
  await mkdir(space.work, { recursive: true });
  await copyTree(space.work, material);
  for (const output of material.upstream) {
    const path = join(space.work, output.path);
    await mkdir(dirname(path), { recursive: true });
    await namingDamage(
      `${output.path}, which ${output.step} made,`,
      `Resume the run: ${output.step} then runs once more.`,
      () => store.copyTo(output.sha256, path, { mode: output.executable ? 0o755 : 0o644 }),
    );
  }
  for (const { to, write } of material.data) {
    const path = join(space.work, to);
    await mkdir(dirname(path), { recursive: true });
    await write(path);
  }
  await writeParams(space, material);
  const { home, tmp, checkpoint } = space.directories;
  await mkdir(dirname(tmp), { recursive: true, mode: 0o711 });
  await mkdir(tmp, { mode: 0o700 });
  await Promise.all([home, checkpoint, join(space.root, 'secrets')].map((path) => mkdir(path, { recursive: true })));
  for (const [name, value] of Object.entries(material.secretFiles)) {
    await writeFile(join(space.root, 'secrets', name), value, { mode: 0o600 });
  }
  // They are there as scripts for other platforms expect; empty folders are no outputs.
  await Promise.all(
    [space.directories.output, space.directories.model].map((path) => mkdir(path, { recursive: true })),
  );
  await writeFile(listingFile(space), JSON.stringify([...(await listFiles(space.work))]));
}

export function compileGlob(pattern: string): (path: string) => boolean {
  return picomatch(pattern, { dot: true });
}

/** Reflinked where the file system can, copied otherwise; never a hard link, because the stage may write. */
async function copyTree(work: string, { source, stage, config }: Material): Promise<void> {
  const options = { recursive: true, mode: constants.COPYFILE_FICLONE, verbatimSymlinks: true };
  if (stage.code === null) {
    await cp(source, work, options);
    return;
  }
  const paths = [...(await listFiles(source)).keys()];
  for (const path of stageTree(stage, config, paths, compileGlob)) {
    await mkdir(dirname(join(work, path)), { recursive: true });
    await cp(join(source, path), join(work, path), options);
  }
}

/** The declared file is rewritten only where parameters reach the script through it. */
async function writeParams(space: Workspace, { config, stage, params, source }: Material): Promise<void> {
  const narrowed = narrowParams(params, stage.params);
  await writeFile(space.paramsFile, `${JSON.stringify(narrowed, null, 2)}\n`);
  await chmod(space.paramsFile, 0o644);
  const { file, style } = config.params;
  if (file === null || style !== 'json') return;
  const original = await readFile(join(source, file), 'utf8');
  await mkdir(dirname(join(space.work, file)), { recursive: true });
  await writeFile(join(space.work, file), writeParamsFile(file, original, narrowed));
}

function listingFile(space: Workspace): string {
  return join(space.folder, 'before.json');
}

/** What the working directory held before the stage started, also for a worker that adopted the launch. */
export async function readListing(space: Workspace): Promise<Listing> {
  return new Map(JSON.parse(await readFile(listingFile(space), 'utf8')) as Array<[string, string]>);
}

/** Regular files below a directory with a stamp of their state; links and devices are no outputs. */
async function listFiles(directory: string): Promise<Listing> {
  const listing = new Map<string, string>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs, ino } = await lstat(path);
    listing.set(relative(directory, path), `${size}.${mtimeMs}.${ino}`);
  }
  return listing;
}
