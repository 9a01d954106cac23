import { execFile } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { StageUser } from './stage-user.ts';

const answerMs = 10_000;
const usualPlaces = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];
const usualNames = ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python3.9'];

// The interpreter itself, behind shims, links and virtual environments.
const question = `
import os, sys
if sys.version_info < (3, 9): sys.exit("it is Python %d.%d, older than 3.9" % sys.version_info[:2])
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable) or sys.executable))
`;

/**
 * The real path of a Python, at least 3.9, that the user of the stages can execute: one below root's home is not.
 * Only `preferred` is tried where it is given. Throws a sentence for the operator when there is none.
 */
export async function findPython(user: StageUser | null, preferred?: string): Promise<string> {
  const refused: string[] = [];
  for (const candidate of preferred ? [preferred] : candidates()) {
    try {
      return await interpreterBehind(candidate, user);
    } catch (error) {
      const { code, stderr, message } = error as { code?: unknown; stderr?: string; message: string };
      if (code !== 'ENOENT' || preferred) refused.push(`${candidate}: ${stderr?.trim() || message}`);
    }
  }
  const who = user ? ` that the user '${user.name}' can execute` : '';
  const found = refused.length > 0 ? ` Found: ${refused.join('; ')}.` : '';
  throw new Error(
    `No Python of version 3.9 or newer${who}: install one (Debian: apt install python3 python3-venv), or set ASSAY_PYTHON to one.${found}`,
  );
}

function candidates(): string[] {
  const directories = new Set([...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...usualPlaces]);
  return usualNames.flatMap((name) => [...directories].map((directory) => join(directory, name)));
}

async function interpreterBehind(candidate: string, user: StageUser | null): Promise<string> {
  const path = await ask(candidate, {});
  return user ? await ask(path, { cwd: '/', env: {}, uid: user.uid, gid: user.gid }) : path;
}

async function ask(
  python: string,
  options: { cwd?: string; env?: object; uid?: number; gid?: number },
): Promise<string> {
  const { stdout } = await promisify(execFile)(python, ['-I', '-c', question], {
    timeout: answerMs,
    ...options,
    env: { ...(options.env ?? process.env) },
  });
  return stdout.trim();
}
