// Starts the Python side: a supervisor per launch, and a sweep for a launch whose supervisor is gone.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Launch, readIfThere } from './launch-state.ts';
import type { StageSpec } from './runner.ts';
import type { StageUser } from './stage-user.ts';

export interface SupervisorOptions {
  /** A Python of at least 3.9, as an absolute path to the interpreter itself, not to a shim. */
  python: string;
  /** Whom the stages run as; null leaves them to the worker's own user. */
  stageUser: StageUser | null;
  /** False watches memory and processes instead of letting the kernel enforce the limits. */
  cgroups: boolean;
  /** Where Python keeps the compiled supervisor, out of the source tree. */
  cacheDir: string;
}

const script = fileURLToPath(new URL('./supervise.py', import.meta.url));

const argumentsOf = (options: SupervisorOptions, verb: 'run' | 'sweep', launch: Launch): string[] => [
  '-I',
  '-S',
  '-X',
  'utf8',
  '-X',
  `pycache_prefix=${options.cacheDir}`,
  script,
  verb,
  launch.directory,
];

// Only what an interpreter outside the system's directories may need to find its own library: no secret passes here.
const environment = (): NodeJS.ProcessEnv =>
  process.env.LD_LIBRARY_PATH ? { LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH } : {};

/** Resolves when the supervisor has claimed the launch; it then outlives this process. */
export async function startSupervisor(options: SupervisorOptions, launch: Launch, spec: StageSpec): Promise<void> {
  const complaints = await open(join(launch.directory, 'supervisor.log'), 'a', 0o600);
  try {
    const child = spawn(options.python, argumentsOf(options, 'run', launch), {
      cwd: '/',
      detached: true,
      env: environment(),
      stdio: ['pipe', 'pipe', complaints.fd],
    });
    await handOver(child, messageOf(options, spec), launch);
  } finally {
    await complaints.close();
  }
}

async function handOver(child: ChildProcess, message: string, launch: Launch): Promise<void> {
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('The supervisor has no pipes.');
  const ended = once(child, 'close').then(() => false);
  const ready = once(stdout, 'data').then(() => true);
  // A supervisor that dies early is reported by its exit, not by the broken pipe.
  stdin.on('error', () => undefined);
  stdin.end(message);
  if (!(await Promise.race([ready, ended]))) {
    const complaint = await readIfThere(join(launch.directory, 'supervisor.log'));
    throw new Error(
      `The supervisor of ${launch.name} did not start: ${complaint?.trim().slice(-500) || 'it said nothing'}`,
    );
  }
  stdout.destroy();
  child.unref();
}

function messageOf(options: SupervisorOptions, spec: StageSpec): string {
  const { name, command, files, limits, graceMs } = spec;
  const user = options.stageUser && { uid: options.stageUser.uid, gid: options.stageUser.gid };
  const variables = { ...baseVariables(options, spec), ...spec.variables, ASSAY_LAUNCH: name };
  return JSON.stringify({ name, command, ...files, limits, graceMs, user, variables, cgroups: options.cgroups });
}

function baseVariables(options: SupervisorOptions, spec: StageSpec): Record<string, string> {
  const user = options.stageUser?.name;
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: spec.files.root,
    LANG: 'C.UTF-8',
    ...(user ? { USER: user, LOGNAME: user } : {}),
  };
}

/** Kills what a lost supervisor left behind and writes the exit `vanished`. Does nothing to a launch that is alive. */
export async function sweepLaunch(options: SupervisorOptions, launch: Launch): Promise<void> {
  await promisify(execFile)(options.python, argumentsOf(options, 'sweep', launch), { cwd: '/', env: environment() });
}
