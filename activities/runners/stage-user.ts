import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const stageUserName = 'assay-stage';
const builderName = 'assay-build';

/** Whom stages run as when the worker is root: neither root nor the user of the database. */
export interface StageUser {
  name: string;
  uid: number;
  gid: number;
}

// Debian, Red Hat, SUSE and Arch have the first, Alpine and other BusyBox systems the second.
const recipesFor = (name: string): readonly (readonly [string, ...string[]])[] => [
  [
    'useradd',
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/bin/false',
    name,
  ],
  ['adduser', '-S', '-D', '-H', '-h', '/nonexistent', '-s', '/bin/false', name],
];

/** Finds the system user `assay-stage` or creates it. Null when this process is not root: stages then run as its own user. */
export async function ensureStageUser(): Promise<StageUser | null> {
  return await ensureUser(stageUserName);
}

/** The account that installs and builds packages for a worker of root; it is not the one of the stages. */
export async function ensureBuilder(): Promise<StageUser | null> {
  return await ensureUser(builderName);
}

async function ensureUser(name: string): Promise<StageUser | null> {
  if (process.getuid?.() !== 0) return null;
  const existing = await findUser(name);
  if (existing) return existing;
  const complaints: string[] = [];
  for (const [command, ...args] of recipesFor(name)) {
    // Another worker may have been faster, so the outcome is looked up and not concluded from the exit code.
    await run(command, args).catch((error: Error) => complaints.push(error.message.trim()));
    const created = await findUser(name);
    if (created) return created;
  }
  throw new Error(
    `Stages and builds must not run as root, and the user '${name}' could not be created: create it by hand, or start Assay as a normal user. ${complaints.join(' ')}`,
  );
}

async function findUser(name: string): Promise<StageUser | null> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => idOf(flag, name)));
    return uid && gid ? { name, uid, gid } : null;
  } catch {
    return null; // `id` fails where there is no such user.
  }
}

async function idOf(flag: string, name: string): Promise<number> {
  return Number((await run('id', [flag, name])).stdout.trim());
}
