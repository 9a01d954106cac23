import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./stack-process.ts', import.meta.url));
const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));

export interface StackReady {
  ownerUrl: string;
  appUrl: string;
  address: string;
  namespace: string;
  uiUrl: string | null;
}

interface Line {
  said?: string;
  ready?: StackReady;
  refused?: string;
  failed?: string;
  pids?: Record<string, number>;
}

export interface StackProcess {
  process: ChildProcess;
  lines: Line[];
  ready: () => Promise<StackReady>;
  pids: () => Promise<Record<string, number>>;
  kill: (signal: NodeJS.Signals) => Promise<void>;
}

/** Starts the servers of an embedded stack in a process that a test may kill. */
export function startStackProcess(home: string, env: NodeJS.ProcessEnv = {}): StackProcess {
  const child = spawn(node, [script], {
    env: { ...process.env, ASSAY_HOME: home, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const lines: Line[] = [];
  createInterface({ input: child.stdout as Readable }).on('line', (line) => lines.push(JSON.parse(line) as Line));
  const first = async <K extends keyof Line>(key: K): Promise<NonNullable<Line[K]>> => {
    const found = () => lines.find((line) => line[key] !== undefined)?.[key];
    await until(() => found() !== undefined || child.exitCode !== null || child.signalCode !== null);
    const value = found();
    if (value === undefined) throw new Error(`The stack ended without "${key}": ${JSON.stringify(lines)}`);
    return value as NonNullable<Line[K]>;
  };
  return {
    process: child,
    lines,
    ready: () => first('ready'),
    pids: async () => {
      const before = lines.length;
      child.send('pids');
      await until(() => lines.slice(before).some((line) => line.pids));
      return lines.slice(before).find((line) => line.pids)?.pids ?? {};
    },
    kill: async (signal) => {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    },
  };
}

/** Waits for a condition. @throws after a minute. */
export async function until(isSo: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`It did not happen within ${timeoutMs / 1000} s: ${isSo.toString()}`);
    await sleep(20);
  }
}

/** Ids of processes that work in a folder, for example the servers of a stack in its home. */
export function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => workingDirectory(pid)?.startsWith(folder) === true)
    .map(Number);
}

function workingDirectory(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // It has ended, or belongs to somebody else.
  }
}
