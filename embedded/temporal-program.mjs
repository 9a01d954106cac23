// Finds the `temporal` program. Plain JavaScript, because setup.mjs needs it before anything is installed.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Where Assay keeps programs that npm does not carry; shared by all checkouts of one user.
 * @returns {string}
 */
export function programCache() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'assay', 'bin');
}

/**
 * Looks in this order: the configured path, PATH, the cache. A program counts when it runs.
 * @param {string | null} [configured] ASSAY_TEMPORAL_BIN
 * @returns {Promise<string | null>} an absolute or configured path; null when there is none
 * @throws when the configured program does not run: silently taking another would surprise
 */
export async function findTemporalProgram(configured = null) {
  if (configured) {
    if (await runs(configured)) return configured;
    throw new Error(`ASSAY_TEMPORAL_BIN is ${configured}, which does not run; correct it, or unset it to use another.`);
  }
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  for (const folder of [...folders, programCache()]) {
    const program = join(folder, 'temporal');
    if ((await isExecutable(program)) && (await runs(program))) return program;
  }
  return null;
}

/** @param {string} program */
async function isExecutable(program) {
  return access(program, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** @param {string} program */
async function runs(program) {
  return run(program, ['--version'], { timeout: 20_000 }).then(
    () => true,
    () => false,
  );
}
