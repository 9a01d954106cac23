// Gets the `temporal` program, which npm does not carry: the official release, else a build from its Go module.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTemporalProgram, programCache } from '../temporal-program.mjs';
import { buildGoProgram } from './go-build.mjs';
import { SetupError, withProgress } from './progress.mjs';
import { alone } from './single-flight.mjs';

/** The newest version that `go install` accepts; later ones have a replace directive in go.mod. */
const version = '1.5.1';
const goProgram = { name: 'temporal', module: 'github.com/temporalio/cli/cmd/temporal', version };
const downloadTimeoutMs = 180_000;
const connectTimeoutMs = 8_000;

/** sha256 of the release archives. */
const archives = {
  linux_amd64: 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  linux_arm64: 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  darwin_amd64: 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  darwin_arm64: 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
};

const howToHelp =
  'Put a `temporal` program on PATH (https://docs.temporal.io/cli), install Go so that it can be built, or name one in ASSAY_TEMPORAL_BIN.';

/** @returns {Promise<string>} the program's path */
export async function installTemporal() {
  const found = await findTemporalProgram(process.env.ASSAY_TEMPORAL_BIN);
  if (found) return found;
  const cache = programCache();
  await makeCache(cache);
  return alone('Temporal', join(cache, 'temporal.lock'), async () => {
    // Another set-up may have finished it while this one waited.
    const meanwhile = await findTemporalProgram();
    if (meanwhile) return meanwhile;
    const draft = join(cache, `draft-${process.pid}`);
    await mkdir(draft, { recursive: true });
    try {
      const reasons = [];
      for (const way of [download, buildGoProgram.bind(null, goProgram)]) {
        const problem = await way(draft);
        if (problem === null) return await putInPlace(join(draft, 'temporal'), join(cache, 'temporal'));
        reasons.push(problem);
      }
      throw new SetupError(`Temporal could not be installed: ${reasons.join('; ')}. ${howToHelp}`);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
}

/** @param {string} cache */
async function makeCache(cache) {
  try {
    await mkdir(cache, { recursive: true });
    await writeFile(join(cache, '.writable'), '');
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new SetupError(
      `Temporal is not installed and its place, ${cache}, cannot be written (${code}). Set XDG_CACHE_HOME to a folder that you may write. Or: ${howToHelp}`,
    );
  }
}

/**
 * @param {string} draft
 * @returns {Promise<string | null>} why it did not work, or null
 */
async function download(draft) {
  const platform = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const expected = archives[platform];
  if (!expected) return `there is no release for ${platform}`;
  const url = `https://github.com/temporalio/cli/releases/download/v${version}/temporal_cli_${version}_${platform}.tar.gz`;
  try {
    const bytes = await withProgress(`Downloading Temporal ${version}`, fetchBytes(url));
    const found = createHash('sha256').update(bytes).digest('hex');
    if (found !== expected) return `the download has sha256 ${found} instead of ${expected}`;
    const archive = join(draft, 'temporal.tar.gz');
    await writeFile(archive, bytes);
    return (await run('tar', ['-xzf', archive, '-C', draft, 'temporal'])) === 0
      ? null
      : 'the download could not be unpacked';
  } catch (error) {
    return `github.com gave no download (${reason(error)})`;
  }
}

/** @param {string} url */
async function fetchBytes(url) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Error('no answer in time')), connectTimeoutMs);
  const signal = AbortSignal.any([patience.signal, AbortSignal.timeout(downloadTimeoutMs)]);
  try {
    const response = await fetch(url, { signal });
    clearTimeout(timer);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } finally {
    clearTimeout(timer);
  }
}

/** @param {unknown} error */
function reason(error) {
  const { cause, message } = /** @type {Error} */ (error);
  return cause instanceof Error ? cause.message || String(/** @type {NodeJS.ErrnoException} */ (cause).code) : message;
}

/**
 * @param {string} program
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number | null>} its exit code; null when it could not be started
 */
async function run(program, args, options = {}) {
  const [code] = await once(spawn(program, args, options), 'exit').catch(() => [null]);
  return code;
}

/**
 * @param {string} from
 * @param {string} to
 */
async function putInPlace(from, to) {
  await chmod(from, 0o755);
  await rename(from, to);
  return to;
}
