// A stage worker as a process of its own, as a team's node runs it, so that a test may kill it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './stack.ts';

const main = fileURLToPath(new URL('../../worker/main.ts', import.meta.url));
const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));

export interface StageProcess {
  /** The node's id, kept over restarts. */
  id: () => string;
  start: () => Promise<void>;
  /** Runs until it ends by itself and answers what it said. */
  refused: () => Promise<{ code: number | null; said: string }>;
  kill: (signal: NodeJS.Signals) => Promise<void>;
  said: () => string;
}

export function stageProcess(
  home: string,
  variables: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): StageProcess {
  let child: ChildProcess | null = null;
  const logFile = join(home, 'worker.log');
  const said = () => readFileSync(logFile, 'utf8');

  async function spawnWorker(): Promise<ChildProcess> {
    await mkdir(home, { recursive: true });
    await chmod(home, 0o711);
    // Environments are the same for every node of a test run, and take long to make.
    await mkdir(join(tmpdir(), 'assay-test-environments'), { recursive: true });
    await symlink(join(tmpdir(), 'assay-test-environments'), join(home, 'environments')).catch(ignoreExisting);
    const log = openSync(logFile, 'a');
    child = spawn(node, [main, '--role', 'stage', ...args], {
      // The set-up of the tests names a Temporal program, which is for those who start a server themselves.
      env: { ...process.env, ASSAY_TEMPORAL_BIN: '', ...variables, ASSAY_HOME: home },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    return child;
  }

  return {
    id: () => readFileSync(join(home, 'node-id'), 'utf8').trim(),
    said,
    async start() {
      const started = await spawnWorker();
      const readyBefore = readiness(said());
      await until(() => {
        if (started.exitCode !== null) throw new Error(`The stage worker ended: ${said().slice(-2_000)}`);
        return readiness(said()) > readyBefore;
      });
    },
    async refused() {
      const started = await spawnWorker();
      const [code] = (await once(started, 'exit')) as [number | null];
      return { code, said: said() };
    },
    async kill(signal) {
      if (child === null || child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    },
  };
}

function readiness(log: string): number {
  return log.split('the worker is ready').length - 1;
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
