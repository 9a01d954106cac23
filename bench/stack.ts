// A stack of its own for a benchmark: the program that `npm start` runs, in an empty home, on ports of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isFinished, type RunStatus } from '#core/run.ts';
import { freePort } from '#embedded/ports.ts';
import { embeddedNamespace } from '#embedded/temporal.ts';
import { type Client, createClient } from '#sdk/client.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** What embedded/setup.mjs runs once everything is installed. */
const program = ['--max-semi-space-size=4', 'embedded/main.ts'];
const compileCache = join(root, 'node_modules', '.cache', 'node');

export interface BenchStack {
  client: Client;
  temporal: { address: string; namespace: string };
  /** The process that holds API and workers. */
  pid: number;
  /** From the start of the process to the line that says so. */
  readyMs: number;
  stop: () => Promise<void>;
}

export async function startBenchStack(home: string): Promise<BenchStack> {
  await mkdir(home, { recursive: true, mode: 0o711 });
  const port = await freePort();
  const startedMs = performance.now();
  const child = spawn(process.execPath, program, {
    cwd: root,
    env: { NODE_COMPILE_CACHE: compileCache, ...process.env, ASSAY_HOME: home, ASSAY_PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await untilReady(child);
  const readyMs = performance.now() - startedMs;
  const ports = JSON.parse(await readFile(join(home, 'ports.json'), 'utf8')) as { temporal: number };
  const token = (await readFile(join(home, 'token'), 'utf8')).trim();
  return {
    client: createClient({ url: `http://127.0.0.1:${port}`, token }),
    temporal: { address: `127.0.0.1:${ports.temporal}`, namespace: embeddedNamespace },
    pid: child.pid ?? 0,
    readyMs,
    async stop() {
      const exit = once(child, 'exit');
      child.kill('SIGINT');
      await exit;
    },
  };
}

/** Waits for the event that says how the run ended, as a client sees it, and answers how. */
export async function followToEnd(client: Client, id: string): Promise<RunStatus> {
  for await (const event of client.runs.watch(id)) {
    if (event.kind === 'run' && isFinished(event.run.status)) return event.run.status;
  }
  throw new Error(`The events of run ${id} ended before the run did.`);
}

/** The same of a run that has to succeed. */
export async function succeed(client: Client, id: string): Promise<void> {
  const status = await followToEnd(client, id);
  if (status !== 'succeeded') throw new Error(`The run ${id} ended as ${status}.`);
}

async function untilReady(child: ChildProcess): Promise<void> {
  if (child.stdout === null) throw new Error('The stack has no output to read.');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (line.startsWith('Assay is ready')) {
      // What it says later is not of interest, but it must not fill the pipe.
      child.stdout.resume();
      return;
    }
  }
  throw new Error(`The stack ended before it was ready: ${lines.join(' ')}`);
}
