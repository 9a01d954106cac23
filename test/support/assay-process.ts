// The whole of Assay as a process of its own, as `npm start` runs it, so that a test can kill it and each of its parts.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, createClient } from '#sdk/client.ts';
import { processesIn, until } from './stack.ts';

const main = fileURLToPath(new URL('../../embedded/main.ts', import.meta.url));
const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));

export const killable = ['main', 'guard', 'postgres', 'backend', 'temporal', 'supervisor', 'stage'] as const;
export type Killable = (typeof killable)[number];

export interface AssayProcess {
  url: string;
  home: string;
  /** Starts it, when it does not run, and resolves when it answers. */
  start(): Promise<void>;
  /** Starts it without waiting for anything. */
  spawn(): void;
  isRunning(): boolean;
  ready(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  client(): Client;
  /** Ids of processes of this kind that live now; for stages with the name of their launch. */
  find(kind: Killable): Array<{ pid: number; launch: string | null }>;
  /** The end of what it printed. */
  lastWords(): string;
  /** Names of launches that the runner holds. */
  launches(): string[];
}

export function assayProcess(home: string, port: number, env: NodeJS.ProcessEnv = {}): AssayProcess {
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null;

  const answers = async () => {
    const response = await fetch(`${url}/ready`).catch(() => null);
    return response?.ok === true;
  };

  return {
    url,
    home,
    isRunning,
    spawn() {
      if (isRunning()) return;
      const log = openSync(join(home, 'main.log'), 'a');
      child = spawn(node, [main], {
        env: { ...process.env, ASSAY_HOME: home, ASSAY_PORT: String(port), ...env },
        stdio: ['ignore', log, log],
      });
    },
    async start() {
      this.spawn();
      await this.ready();
    },
    async ready() {
      await until(async () => {
        if (!isRunning()) throw new Error(`Assay ended with ${child?.exitCode}: ${logTail(home)}`);
        return await answers();
      }, 120_000);
    },
    async kill(signal) {
      if (child === null || !isRunning()) return;
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    },
    client: () => createClient({ url, token: readFileSync(join(home, 'token'), 'utf8').trim() }),
    find(kind) {
      if (kind === 'main') return isRunning() ? [{ pid: child?.pid ?? 0, launch: null }] : [];
      if (kind === 'supervisor' || kind === 'stage') return stageProcesses(home, kind);
      return serverProcesses(home, kind, child?.pid ?? 0).map((pid) => ({ pid, launch: null }));
    },
    lastWords: () => logTail(home),
    launches: () => launchesIn(home),
  };
}

function logTail(home: string): string {
  return readFileSync(join(home, 'main.log'), 'utf8').slice(-500);
}

function launchesIn(home: string): string[] {
  try {
    return readdirSync(join(home, 'launches')).filter((name) => !name.startsWith('.'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function stageProcesses(home: string, kind: 'supervisor' | 'stage'): Array<{ pid: number; launch: string }> {
  return launchesIn(home).flatMap((launch) => {
    const state = join(home, 'launches', launch, 'state');
    const claim = readIfThere(join(state, 'supervisor.json'));
    if (claim === null || readIfThere(join(state, 'exit.json')) !== null) return [];
    const { pid } = JSON.parse(claim) as { pid: number | null };
    if (pid === null) return [];
    const pids = kind === 'supervisor' ? [pid].filter((id) => parentOf(id) !== null) : childrenOf(pid);
    return pids.map((id) => ({ pid: id, launch }));
  });
}

/** The postmaster is the child of the guard, its backends are its own children. */
function serverProcesses(home: string, kind: Killable, mainPid: number): number[] {
  const guards = childrenOf(mainPid).filter((pid) => commandOf(pid).includes('guard.py'));
  if (kind === 'guard') return guards;
  const services = guards.flatMap(childrenOf);
  if (kind === 'temporal') return services.filter((pid) => processesIn(join(home, 'temporal')).includes(pid));
  const postmasters = services.filter((pid) => commandOf(pid).includes('postgres'));
  if (kind === 'postgres') return postmasters;
  return postmasters.flatMap(childrenOf).filter((pid) => commandOf(pid).includes('assay_app'));
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

function parentOf(pid: number): number | null {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function commandOf(pid: number): string {
  return (readIfThere(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ');
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return null;
    throw error;
  }
}
