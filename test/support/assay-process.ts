// The whole of Assay as a process of its own, as `npm start` runs it, so that a test can kill it and each of its parts.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createClient } from '#sdk/client.ts';
import type { System } from './kill-loop.ts';
import { processesIn, until } from './stack.ts';
import { childrenOf, commandOf, isWholeOnDisk, launchesIn, stageProcesses } from './stage-processes.ts';

const main = fileURLToPath(new URL('../../embedded/main.ts', import.meta.url));
const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));

const killable = ['main', 'guard', 'postgres', 'backend', 'temporal', 'supervisor', 'stage'] as const;

export interface AssayProcess extends System {
  url: string;
  home: string;
  /** Ends the main process; resolves when it is gone. */
  end(signal: NodeJS.Signals): Promise<void>;
}

export function assayProcess(home: string, port: number, env: NodeJS.ProcessEnv = {}): AssayProcess {
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null;

  const answers = async () => {
    const response = await fetch(`${url}/ready`).catch(() => null);
    return response?.ok === true;
  };

  const spawnMain = () => {
    if (isRunning()) return;
    const log = openSync(join(home, 'main.log'), 'a');
    child = spawn(node, [main], {
      env: { ...process.env, ASSAY_HOME: home, ASSAY_PORT: String(port), ...env },
      stdio: ['ignore', log, log],
    });
  };
  const ready = async () => {
    await until(async () => {
      if (!isRunning()) throw new Error(`Assay ended with ${child?.exitCode}: ${logTail(home)}`);
      return await answers();
    }, 120_000);
  };
  const end = async (signal: NodeJS.Signals) => {
    if (child === null || !isRunning()) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  };

  return {
    url,
    home,
    kinds: killable,
    watchers: ['main'],
    async start() {
      spawnMain();
      await ready();
    },
    ready,
    end,
    async kill(kind, pid) {
      if (kind === 'main') {
        await end('SIGKILL');
        return true;
      }
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        return false;
      }
      // A stack that gives up takes a moment to say so.
      await sleep(200);
      return true;
    },
    async revive(killed, random) {
      if (isRunning()) return null;
      const wrong = killed === 'main' ? null : `the stack gave up after a kill of ${killed}: ${logTail(home)}`;
      await sleep(random() * 2_000);
      spawnMain();
      // Half of the time the next kill meets a stack that is still starting.
      if (random() < 0.5) await ready();
      return wrong;
    },
    client: () => createClient({ url, token: readFileSync(join(home, 'token'), 'utf8').trim() }),
    find(kind) {
      if (kind === 'main') return isRunning() ? [{ pid: child?.pid ?? 0, launch: null }] : [];
      if (kind === 'supervisor' || kind === 'stage') return stageProcesses(home, kind);
      return serverProcesses(home, kind, child?.pid ?? 0).map((pid) => ({ pid, launch: null }));
    },
    watchedBy: () => stageProcesses(home, 'supervisor'),
    services: () => servicesOf(home),
    isWhole: (sha256) => isWholeOnDisk(join(home, 'blobs'), sha256),
    launches: () => launchesIn(home),
    workspaces: () => readdir(join(home, 'node', 'work')),
    stop: () => end('SIGTERM'),
  };
}

/** How the servers of a stack in this home are reached. */
export async function servicesOf(home: string): Promise<{ ownerUrl: string; temporal: string }> {
  const ports = JSON.parse(await readFile(join(home, 'ports.json'), 'utf8')) as Record<string, number>;
  const state = JSON.parse(await readFile(join(home, 'postgres.json'), 'utf8')) as {
    passwords: { assay_owner: string };
  };
  return {
    ownerUrl: `postgres://assay_owner:${state.passwords.assay_owner}@127.0.0.1:${ports.postgres}/assay`,
    temporal: `127.0.0.1:${ports.temporal}`,
  };
}

function logTail(home: string): string {
  return readFileSync(join(home, 'main.log'), 'utf8').slice(-500);
}

/** The postmaster is the child of the guard, its backends are its own children. */
function serverProcesses(home: string, kind: string, mainPid: number): number[] {
  const guards = childrenOf(mainPid).filter((pid) => commandOf(pid).includes('guard.py'));
  if (kind === 'guard') return guards;
  const services = guards.flatMap(childrenOf);
  if (kind === 'temporal') return services.filter((pid) => processesIn(join(home, 'temporal')).includes(pid));
  const postmasters = services.filter((pid) => commandOf(pid).includes('postgres'));
  if (kind === 'postgres') return postmasters;
  return postmasters.flatMap(childrenOf).filter((pid) => commandOf(pid).includes('assay_app'));
}
