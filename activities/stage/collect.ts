// What a stage produced: stored first, recorded after.
import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { metricsFilePaths, readMetricsFiles } from '#core/metrics-file.ts';
import { summariseMetric } from '#core/metrics.ts';
import { declaredPathMatches } from '#core/glob.ts';
import { collectOutputs, type Listing } from '#core/outputs.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import type { Output, Outputs } from '#db/outputs.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';
import { mediaTypeOf } from './media-type.ts';
import { compileGlob, readListing, type Workspace } from './workspace.ts';
import { listWrittenFiles, openWritten } from './written-files.ts';

const metricsBytesMax = 64 * 1024 * 1024;
/** A file with a thousand faults needs no thousand sentences. */
const notesMax = 20;
/** Many small files wait for the disk and for Postgres, not for the processor. */
const keptAtOnce = 8;
/** More files than this are a mistake of the script; declaring outputs narrows them. */
const filesMax = 100_000;

export interface Collected extends Outputs {
  missing: string[];
  notes: string[];
}

export async function collectStageOutputs(
  deps: { db: Database; store: BlobStore },
  space: Workspace,
  config: ProjectConfig,
  stage: Stage,
): Promise<Collected> {
  const { listing, notes: seen } = await listWrittenFiles(space.work);
  const after = withoutCheckpoints(listing, stage, config);
  const alsoKept = [
    ...config.models.map((model) => model.path),
    ...metricsFilePaths(config.metrics.files, [...after.keys()], compileGlob),
  ];
  const { paths, missing } = collectOutputs(stage.outputs, alsoKept, await readListing(space), after, compileGlob);
  const notes = [...seen];
  if (paths.length > filesMax)
    notes.push(`${paths.length} files were written; only the first ${filesMax} are kept. Declare outputs.`);
  const outputs = await mapLimited(paths.slice(0, filesMax), keptAtOnce, (path) => keepOutput(deps, space, path));
  const reading = await readMetrics(space, config, paths);
  return {
    outputs,
    metrics: reading.series.map((series) => ({ ...summariseMetric(series), source: series.file })),
    missing,
    notes: [...notes, ...reading.notes].slice(0, notesMax),
  };
}

/** What is kept as checkpoints is an output only where the project says so. */
function withoutCheckpoints(listing: Listing, { checkpoints, outputs }: Stage, config: ProjectConfig): Listing {
  if (checkpoints === null) return listing;
  const declared = [...outputs, ...config.models.map(({ path }) => path), ...config.metrics.files];
  const named = declared.map((path) => declaredPathMatches(path, compileGlob));
  const isKept = (path: string) => !path.startsWith(`${checkpoints}/`) || named.some((matches) => matches(path));
  return new Map([...listing].filter(([path]) => isKept(path)));
}

/** The stage must not lend the worker's eyes: what is read is a file of the stage's own directory. */
async function keepOutput(deps: { db: Database; store: BlobStore }, space: Workspace, path: string): Promise<Output> {
  const handle = await openWritten(space.folder, join(relative(space.folder, space.work), path));
  try {
    const { mode } = await handle.stat();
    const { sha256, sizeBytes } = await keepBlob(deps.db, deps.store, handle.createReadStream({ autoClose: false }));
    return { path, sha256, sizeBytes, mediaType: mediaTypeOf(path), executable: (mode & 0o111) !== 0 };
  } finally {
    await handle.close();
  }
}

async function readMetrics(space: Workspace, config: ProjectConfig, paths: readonly string[]) {
  const files = metricsFilePaths(config.metrics.files, paths, compileGlob);
  const texts = await Promise.all(files.map(async (path) => ({ path, text: await readCapped(space, path) })));
  return readMetricsFiles(texts.filter((file) => file.text !== null) as Array<{ path: string; text: string }>);
}

async function readCapped(space: Workspace, path: string): Promise<string | null> {
  const handle = await openWritten(space.folder, join(relative(space.folder, space.work), path));
  try {
    const { size } = await handle.stat();
    return size > metricsBytesMax ? null : await readFile(handle, 'utf8');
  } finally {
    await handle.close();
  }
}
