// Postgres refuses to run as root, so a stack started by root gives its database to an unprivileged account.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export interface Account {
  uid: number;
  gid: number;
}

const run = promisify(execFile);
const systemAccount = 'postgres';

/**
 * The account for the database files, or undefined when this process is unprivileged itself. Started as root it is the
 * system's `postgres` account, which is created where it does not exist.
 */
export async function databaseAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return (await findAccount()) ?? (await createAccount());
}

async function findAccount(): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', systemAccount]), run('id', ['-g', systemAccount])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined; // `id` fails for an unknown name.
  }
}

async function createAccount(): Promise<Account> {
  const options = ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin'];
  try {
    await run('useradd', [...options, systemAccount]);
  } catch (cause) {
    // A second start at the same moment may have created it; otherwise only the person at the machine can help.
    const made = await findAccount();
    if (made) return made;
    throw new Error(
      'PostgreSQL does not run as root and no account for it could be created; start Assay as a normal user, or create an account named "postgres".',
      { cause },
    );
  }
  return (await findAccount()) as Account;
}
