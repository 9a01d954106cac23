// Gets a program that only its Go module carries: looked for on PATH and in the cache, else built once.
import { constants, createReadStream } from 'node:fs';
import { access, chmod, mkdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { programCache } from '../temporal-program.mjs';
import { buildGoProgram } from './go-build.mjs';
import { SetupError } from './progress.mjs';
import { alone } from './single-flight.mjs';

/** @typedef {import('./go-build.mjs').GoProgram} GoProgram */

/** An S3 server over a folder, for tests and benchmarks. @type {GoProgram} */
export const versitygw = {
  name: 'versitygw',
  module: 'github.com/versity/versitygw/cmd/versitygw',
  version: '1.8.0',
};

/** The server of a team's set-up, which keeps its histories in PostgreSQL. @type {GoProgram} */
export const temporalServer = {
  name: 'temporal-server',
  module: 'go.temporal.io/server/cmd/server',
  version: '1.32.1',
  binary: 'server',
};

/** Makes and upgrades the schema of that server. @type {GoProgram} */
export const temporalSqlTool = {
  name: 'temporal-sql-tool',
  module: 'go.temporal.io/server/cmd/tools/sql',
  version: '1.32.1',
  binary: 'sql',
};

/**
 * @param {GoProgram} program
 * @param {string} [configured] a path that was given; taken as it is, or refused
 * @returns {Promise<string>} the program's path
 * @throws {SetupError}
 */
export async function installGoProgram(program, configured) {
  if (configured) {
    if (await isExecutable(configured)) return configured;
    throw new SetupError(`${configured}, given as ${program.name}, is no program; correct the path, or unset it.`);
  }
  const found = await findGoProgram(program);
  if (found) return found;
  const cache = programCache();
  await mkdir(cache, { recursive: true });
  return alone(program.name, join(cache, `${program.name}.lock`), async () => {
    // Another set-up may have finished it while this one waited.
    const meanwhile = await findGoProgram(program);
    if (meanwhile) return meanwhile;
    const draft = join(cache, `draft-${program.name}-${process.pid}`);
    await mkdir(draft, { recursive: true });
    try {
      const problem = await buildGoProgram(program, draft);
      if (problem !== null) {
        throw new SetupError(
          `${program.name} could not be installed: ${problem}. Install Go (https://go.dev/dl) so that it can be built, or put a \`${program.name}\` on PATH.`,
        );
      }
      const target = join(cache, program.name);
      await chmod(join(draft, program.binary ?? program.name), 0o755);
      await rename(join(draft, program.binary ?? program.name), target);
      return target;
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
}

/**
 * Any version on PATH is somebody's choice; in the cache only the pinned one counts.
 * @param {GoProgram} program
 * @returns {Promise<string | null>}
 */
export async function findGoProgram(program) {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    if (await isExecutable(join(folder, program.name))) return join(folder, program.name);
  }
  const cached = join(programCache(), program.name);
  return (await isExecutable(cached)) && (await isVersion(cached, program)) ? cached : null;
}

/**
 * Go writes into each binary which package at which version of its module it was built from.
 * @param {string} path
 * @param {GoProgram} program
 */
async function isVersion(path, { module, version }) {
  const wanted = new RegExp(`path\\t${quote(module)}\\nmod\\t\\S+\\tv${quote(version)}\\t`);
  const overlap = 4096;
  let rest = '';
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 1024 * 1024 })) {
    const seen = rest + chunk;
    if (wanted.test(seen)) return true;
    rest = seen.slice(-overlap);
  }
  return false;
}

/** @param {string} text */
function quote(text) {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** @param {string} path */
async function isExecutable(path) {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
