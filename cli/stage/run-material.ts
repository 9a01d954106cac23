// Brings what a stage of a run had into a folder: code, upstream files, data. Each file is checked against its digest.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import picomatch from 'picomatch';
import { stageTree } from '#core/code-scope.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import type { StageData } from '#core/stage-variables.ts';
import type { RunDatum } from '#contract/artifacts.ts';
import type { Run } from '#contract/runs.ts';
import type { Client } from '#sdk/client.ts';
import { downloadVerified, safeTarget } from '#cli/files/download-file.ts';
import { CliError } from '#cli/errors.ts';
import { inParallel } from '#cli/files/parallel.ts';
import { openWorkingTree } from '#cli/project/tree-listing.ts';

const downloadsMax = 4;

/** The commit's tree, narrowed to what the stage's `code:` names. */
export async function fetchSource(
  client: Client,
  run: Run,
  config: ProjectConfig,
  stage: Stage,
  work: string,
): Promise<void> {
  const response = await client.runs.openSource(run.id);
  const tar = spawn('tar', ['-xf', '-', '-C', work], { stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = once(tar, 'exit') as Promise<[number | null]>;
  if (response.body !== null) await pipeline(Readable.fromWeb(response.body as never), tar.stdin);
  const [code] = await ended;
  if (code !== 0) throw new CliError(`The source of ${run.label} could not be unpacked; tar ended with ${code}.`);
  if (stage.code === null) return;
  const { files } = await openWorkingTree(work);
  const kept = new Set(stageTree(stage, config, files, (pattern) => picomatch(pattern, { dot: true })));
  await Promise.all(files.filter((path) => !kept.has(path)).map((path) => rm(join(work, path))));
}

/** Outputs of all stages that this one needs, directly or through others. */
export async function fetchUpstream(
  client: Client,
  run: Run,
  config: ProjectConfig,
  stage: Stage,
  work: string,
): Promise<number> {
  const needed = ancestorsOf(config.stages, stage.name);
  const { items } = await client.artifacts.list(run.id);
  const wanted = items.filter((item) => needed.has(item.step));
  await inParallel(wanted, downloadsMax, async (artifact) => {
    const { path, step, attempt } = artifact;
    const open = () => client.artifacts.open(run.id, path, { step, attempt });
    await downloadVerified(open, await safeTarget(work, path), artifact);
  });
  return wanted.length;
}

export async function fetchData(client: Client, run: Run, work: string): Promise<StageData[]> {
  const { items } = await client.runs.data(run.id);
  for (const datum of items) await fetchDatum(client, run, datum, work);
  return items.map(({ name, to, kind }) => ({ name, path: join(work, to), isFolder: kind === 'dataset' }));
}

async function fetchDatum(client: Client, run: Run, datum: RunDatum, work: string): Promise<void> {
  const target = await safeTarget(work, datum.to);
  if (datum.dataset !== null && datum.datasetVersion !== null) {
    return fetchDataset(client, datum.dataset, datum.datasetVersion, target);
  }
  await save(await client.runs.openData(run.id, datum.name, formatOf(datum.to)), target);
}

export async function fetchDataset(client: Client, dataset: string, version: number, target: string): Promise<void> {
  const { items } = await client.datasets.files(dataset, version);
  await inParallel(items, downloadsMax, async (file) => {
    const open = () => client.datasets.openFile(dataset, version, file.path);
    await downloadVerified(open, await safeTarget(target, file.path), file);
  });
}

export function formatOf(path: string): 'csv' | 'jsonl' | 'parquet' {
  if (path.endsWith('.csv')) return 'csv';
  return path.endsWith('.jsonl') ? 'jsonl' : 'parquet';
}

export async function save(response: Response, target: string): Promise<void> {
  if (response.body !== null) await pipeline(response.body, createWriteStream(target));
}

function ancestorsOf(stages: readonly Stage[], name: string): Set<string> {
  const found = new Set<string>();
  const queue = [name];
  for (const current of queue) {
    for (const need of stages.find((stage) => stage.name === current)?.needs ?? []) {
      if (!found.has(need)) queue.push(need);
      found.add(need);
    }
  }
  return found;
}
