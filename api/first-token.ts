// There is no default password: the first start makes a token and leaves it where only its owner can read it.
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Database } from '#db/connect.ts';
import { hasOperatorToken, issueToken } from '#db/tokens.ts';

/**
 * Issues an operator's token and writes it to the file (mode 0600) when no working one exists or the file is gone: whoever
 * starts the server holds its database anyway, and would be locked out. Answers the token that was made, null when there
 * was one already. Two first starts at once make two tokens; the file holds one of them.
 */
export async function ensureFirstToken(db: Database, file: string): Promise<string | null> {
  if ((await hasOperatorToken(db)) && (await exists(file))) return null;
  const wanted = { name: 'first start', owner: 'admin', role: 'platform', projectId: null } as const;
  const { token } = await issueToken(db, { ...wanted, expiresInDays: null, issuedBy: 'assay' }, null);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}`;
  try {
    await writeFile(draft, `${token}\n`, { mode: 0o600, flag: 'wx', flush: true });
    await rename(draft, file);
  } finally {
    await rm(draft, { force: true });
  }
  return token;
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => null)) !== null;
}
