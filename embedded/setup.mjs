// Installs what is missing, then runs the demo, the stack or the tests on the pinned Node. Plain JavaScript for Node 20
// or later without a dependency, because it is what runs in a fresh clone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installGoProgram, versitygw } from './setup/go-program.mjs';
import { installPackages, pinnedNode } from './setup/packages.mjs';
import { checkPrerequisites } from './setup/prerequisites.mjs';
import { SetupError } from './setup/progress.mjs';
import { installTemporal } from './setup/temporal.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A terminal signals npm and this process, and npm passes the signal on: what arrives together is one Ctrl-C. */
const sameKeyPressMs = 500;

/** Loading leaves 150 MB of garbage behind; a small young generation keeps it from becoming part of the process. */
const lean = '--max-semi-space-size=4';

const programs = {
  start: [lean, 'embedded/main.ts'],
  demo: [lean, 'embedded/demo.ts'],
  test: ['node_modules/vitest/vitest.mjs', 'run'],
};

async function main() {
  const [what, ...rest] = process.argv.slice(2);
  const program = programs[what];
  if (!program) throw new SetupError(`Say what to do: node embedded/setup.mjs ${Object.keys(programs).join(' | ')}`);
  const { python } = await checkPrerequisites();
  await installPackages(root);
  const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'), ...process.env };
  if (python !== 'python3') env.ASSAY_PYTHON = python;
  if (!process.env.ASSAY_TEMPORAL_ADDRESS) env.ASSAY_TEMPORAL_BIN = await installTemporal();
  if (what === 'test') await installGoProgram(versitygw);
  return runProgram([...program, ...rest], env);
}

/**
 * The program gets a session of its own, so that each signal reaches it exactly once, from here. The channel tells it
 * when this process is gone.
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} its exit code
 */
async function runProgram(args, env) {
  const child = spawn(pinnedNode(root), args, {
    cwd: root,
    env,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    detached: true,
  });
  let lastAt = 0;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      if (Date.now() - lastAt > sameKeyPressMs) child.kill(signal);
      lastAt = Date.now();
    });
  }
  const [code, signal] = await once(child, 'exit');
  return code ?? 128 + constants.signals[signal];
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error instanceof SetupError ? error.message : error);
    process.exit(1);
  },
);
