// The login for a project's remote, kept as a secret of the project under a name made of the host.
import type { KeyObject } from 'node:crypto';
import type { Database } from '#db/connect.ts';
import { listSecrets, openSecret } from '#db/secrets.ts';
import type { RemoteCredentials } from '#git/transport.ts';

/** GIT_GITHUB_COM for github.com. */
export function gitSecretName(host: string): string {
  return `GIT_${host.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}

/** Null when the project has no secret for the host: the remote is then asked without a login. */
export async function gitCredentials(
  deps: { db: Database; secretsKey: KeyObject },
  projectId: string,
  host: string,
): Promise<RemoteCredentials | null> {
  const name = gitSecretName(host);
  if (!(await listSecrets(deps.db, projectId)).some((secret) => secret.name === name)) return null;
  const { value } = await openSecret(deps.db, deps.secretsKey, { projectId, name });
  return readCredentials(value.trim());
}

/** A private key is for ssh; `user:token`, or a token alone, for https. */
function readCredentials(value: string): RemoteCredentials {
  if (value.startsWith('-----BEGIN ')) return { kind: 'ssh', privateKey: `${value}\n` };
  const colon = value.indexOf(':');
  const [username, password] = colon < 0 ? ['token', value] : [value.slice(0, colon), value.slice(colon + 1)];
  return { kind: 'https', username, password };
}
