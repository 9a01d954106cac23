// Takes a commit out of a bundle that a client sent. Nothing but that commit and its history enters the mirror.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type BundleHeader, readBundleHeader } from './bundle.ts';
import { type GitOptions, GitError, runGit } from './command.ts';
import { knownCommits } from './commit.ts';
import { fsckTolerated } from './hardening.ts';
import { type Quarantine, withQuarantine } from './quarantine.ts';
import { listTree, type TreeLimits } from './tree.ts';

export interface IngestLimits extends TreeLimits {
  timeoutMs: number;
}

function refuse(why: string): DomainError {
  return new DomainError('source-refused', `The bundle ${why}`);
}

async function checkSize(bundlePath: string, sizeBytesMax: number): Promise<void> {
  const { size } = await stat(bundlePath);
  if (size <= sizeBytesMax) return;
  throw new DomainError(
    'source-too-large',
    `The bundle has ${size} bytes and at most ${sizeBytesMax} are accepted; take large files out of the history.`,
  );
}

async function checkPrerequisites(header: BundleHeader, mirror: GitOptions): Promise<void> {
  const known = new Set(await knownCommits(header.prerequisites, mirror));
  const missing = header.prerequisites.filter((sha) => !known.has(sha));
  if (missing.length === 0) return;
  const shown = missing.slice(0, 3).join(', ');
  throw refuse(`builds on ${missing.length} commits that are not here (${shown}); send a complete one.`);
}

// index-pack is called directly because it alone takes a size cap and fsck rules for a pack that comes from a file.
async function unpack(
  bundlePath: string,
  packOffset: number,
  limits: IngestLimits,
  quarantine: GitOptions,
): Promise<void> {
  const rules = fsckTolerated.map((id) => `${id}=ignore`).join(',');
  const cap = `--max-input-size=${limits.sizeBytesMax}`;
  const stdin = createReadStream(bundlePath, { start: packOffset });
  try {
    await runGit(['index-pack', '--stdin', '--fix-thin', `--strict=${rules}`, cap], { ...quarantine, stdin });
  } catch (error) {
    if (!(error instanceof GitError) || error.failure !== 'exit') throw error;
    throw refuse(
      `is damaged or breaks git's rules (${lastLine(error.stderr)}); make it again from a repository that passes git fsck.`,
    );
  }
}

function lastLine(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.startsWith('fatal:') || line.startsWith('error:'));
  return (lines[0] ?? stderr.slice(0, 200)).replace(/^(?:fatal|error): /, '').slice(0, 300);
}

async function checkNamed(commit: string, quarantine: GitOptions): Promise<void> {
  if ((await knownCommits([commit], quarantine)).length === 1) return;
  throw refuse(`does not contain the commit ${commit}; make it from the checkout that is submitted.`);
}

/** Copies what the commit reaches and the mirror's references do not, as one pack that appears when it is whole. */
async function copyCommit(commit: string, mirrorDir: string, quarantine: GitOptions): Promise<void> {
  const tips = await runGit(['for-each-ref', '--format=^%(objectname)'], { ...quarantine, gitDir: mirrorDir });
  const target = join(mirrorDir, 'objects', 'pack', 'pack');
  await runGit(['pack-objects', '--revs', '--quiet', '--delta-base-offset', target], {
    ...quarantine,
    stdin: `${commit}\n${tips.toString('latin1')}`,
  });
}

/**
 * Brings `commit` from the bundle into the mirror. Repeating it is harmless and so is its failure at any point. Throws
 * source-refused and source-too-large.
 */
export async function ingest(
  rootDir: string,
  mirrorDir: string,
  bundlePath: string,
  commit: string,
  limits: IngestLimits,
  signal?: AbortSignal,
): Promise<void> {
  await checkSize(bundlePath, limits.sizeBytesMax);
  const header = await readBundleHeader(bundlePath);
  const mirror: GitOptions = { gitDir: mirrorDir, timeoutMs: limits.timeoutMs, ...(signal && { signal }) };
  await checkPrerequisites(header, mirror);
  await withQuarantine(rootDir, mirrorDir, async (place: Quarantine) => {
    const quarantine = { ...mirror, gitDir: place.gitDir };
    await unpack(bundlePath, header.packOffset, limits, quarantine);
    await checkNamed(commit, quarantine);
    await listTree(commit, limits, quarantine);
    await copyCommit(commit, mirrorDir, quarantine);
  });
}
