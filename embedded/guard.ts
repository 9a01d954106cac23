// Starts guard.py and speaks with it. The services live and die with the guard, the guard lives while this process does.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** A server program that the guard starts, watches, starts again when it dies, and stops at the end. */
export interface Service {
  name: string;
  command: readonly string[];
  env: NodeJS.ProcessEnv;
  /** Working directory, which nobody else uses: leftovers of an earlier stack are recognised by it. */
  directory: string;
  /** Set where the service has to run as somebody else than this process. */
  uid?: number;
  gid?: number;
  stopSignal: 'SIGINT' | 'SIGTERM';
  stopSeconds: number;
  log: string;
}

export type GuardEvent =
  | { event: 'cleared'; name: string }
  | { event: 'started'; name: string; pid: number }
  | { event: 'exited'; name: string; code: number | null; restarts: number }
  | { event: 'hopeless'; name: string; code: number | null; reason?: string }
  | { event: 'guard-died'; restarts: number };

type GuardMessage = GuardEvent | { event: 'ready' } | { event: 'refused' };

export interface GuardOptions {
  /** The interpreter that runs guard.py. */
  python: string;
  /** An open file on which the guard takes the stack's lock; without one there is no lock. */
  lockFile?: number;
  onEvent?: (event: GuardEvent) => void;
}

export interface Guard {
  /** Stops what an earlier guard left of this service, so that its files and ports are free. */
  clear: (service: Service) => Promise<void>;
  start: (service: Service) => void;
  /** The directory is removed when the guard ends, however this process ends. */
  removeAtEnd: (directory: string) => void;
  /** Process ids by service name, and that of `guard` itself. */
  pids: () => ReadonlyMap<string, number>;
  /** Stops the services in reverse order and returns when they are gone. */
  stop: () => Promise<void>;
  /** Kills the services instead of waiting for them; a `stop` that waits returns at once. */
  force: () => void;
  /** Rejects with a sentence when the services cannot be kept running; never resolves. */
  failure: Promise<never>;
}

/** The lock is held by another stack. */
export class LockHeldError extends Error {}

const guardRestartsMax = 5;
const script = fileURLToPath(new URL('./guard.py', import.meta.url));

/** @throws LockHeldError when `lockFile` is locked by another guard. */
export async function startGuard(options: GuardOptions): Promise<Guard> {
  const commands: string[] = [];
  const running = new Map<string, number>();
  const clearing = new Map<string, () => void>();
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => undefined);
  let restarts = 0;
  let stopping = false;

  const receive = (event: GuardEvent) => {
    if (event.event === 'cleared') clearing.get(event.name)?.();
    if (event.event === 'started') running.set(event.name, event.pid);
    if (event.event === 'exited') running.delete(event.name);
    if (event.event === 'hopeless') failure.reject(new Error(hopeless(event)));
    options.onEvent?.(event);
  };

  const revive = async () => {
    running.clear();
    if (stopping) return;
    restarts += 1;
    receive({ event: 'guard-died', restarts });
    if (restarts > guardRestartsMax) throw new Error('The guard of the embedded services keeps dying.');
    guard = await launchAlive(options, receive, onExit);
    for (const command of commands) guard.stdin?.write(command);
  };
  const onExit = () => void revive().catch(failure.reject);

  const send = (command: object) => {
    const line = `${JSON.stringify(command)}\n`;
    commands.push(line);
    guard.stdin?.write(line);
  };

  let guard = await launchAlive(options, receive, onExit);

  return {
    clear: (service) =>
      new Promise((resolve) => {
        clearing.set(service.name, resolve);
        send({ op: 'clear', service });
      }),
    start: (service) => send({ op: 'start', service }),
    removeAtEnd: (path) => send({ op: 'temporary', path }),
    pids: () => new Map([...running, ['guard', guard.pid ?? 0]]),
    stop: async () => {
      stopping = true;
      if (guard.exitCode !== null || guard.signalCode !== null) return;
      const exit = once(guard, 'exit');
      guard.stdin?.end();
      await exit;
    },
    force: () => void guard.kill('SIGQUIT'),
    failure: failure.promise,
  };
}

/** The guard was killed before it listened. */
class GuardKilledError extends Error {}

/** A guard gets its commands once it listens, so one that is killed before that is simply followed by another. */
async function launchAlive(...start: Parameters<typeof launch>): Promise<ChildProcess> {
  for (let launches = 1; ; launches += 1) {
    try {
      return await launch(...start);
    } catch (error) {
      if (!(error instanceof GuardKilledError) || launches > guardRestartsMax) throw error;
    }
  }
}

/** Resolves once the guard listens; `onExit` is called when it ends after that. */
async function launch(
  { python, lockFile }: GuardOptions,
  onEvent: (event: GuardEvent) => void,
  onExit: () => void,
): Promise<ChildProcess> {
  const lock = lockFile === undefined ? [] : ['--lock'];
  const child = spawn(python, ['-I', '-S', script, ...lock], {
    stdio: ['pipe', 'pipe', 'inherit', ...(lockFile === undefined ? [] : [lockFile])],
    // A session of its own: the terminal's Ctrl-C reaches this process alone, which then stops things in order.
    detached: true,
  });
  // Writing to a guard that has just died fails here; its exit is what gets handled, and the commands are sent again.
  child.stdin?.on('error', () => undefined);

  const ready = Promise.withResolvers<void>();
  child.once('error', ready.reject);
  child.once('exit', (code, signal) => {
    const message = `The guard of the embedded services ended at once (${code ?? signal}).`;
    ready.reject(code === null ? new GuardKilledError(message) : new Error(message));
  });
  createInterface({ input: child.stdout as Readable }).on('line', (line) => {
    const message = JSON.parse(line) as GuardMessage;
    if (message.event === 'ready') ready.resolve();
    else if (message.event === 'refused') ready.reject(new LockHeldError('Another stack holds the lock.'));
    else onEvent(message);
  });
  await ready.promise;
  child.once('exit', onExit);
  return child;
}

function hopeless({ name, code, reason }: GuardEvent & { event: 'hopeless' }): string {
  return reason === undefined
    ? `${name} keeps dying (last exit ${code}); the last lines of its log say why.`
    : `${name} could not be started: ${reason}`;
}
