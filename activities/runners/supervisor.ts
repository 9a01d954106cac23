// Starts the Python side: a supervisor per launch, and a sweep for a launch whose supervisor is gone.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Launch } from './launch-state.ts';
import { type Python, pythonArguments, pythonEnvironment, startDetached } from './python-program.ts';
import type { StageSpec } from './runner.ts';
import type { StageUser } from './stage-user.ts';

export interface SupervisorOptions extends Python {
  /** Whom the stages run as; null leaves them to the worker's own user. */
  stageUser: StageUser | null;
  /** False watches memory and processes instead of letting the kernel enforce the limits. */
  cgroups: boolean;
}

const script = fileURLToPath(new URL('./supervise.py', import.meta.url));

/** Resolves when the supervisor has claimed the launch; it then outlives this process. */
export async function startSupervisor(options: SupervisorOptions, launch: Launch, spec: StageSpec): Promise<void> {
  await startDetached(options, script, 'run', launch, messageOf(options, spec));
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
  await promisify(execFile)(options.python, pythonArguments(options, script, 'sweep', launch), {
    cwd: '/',
    env: pythonEnvironment(),
  });
}
