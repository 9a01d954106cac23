// The logins that `docker login` keeps: read for each pull, handed to the engine in its request, kept nowhere.
import { readText } from '#environment/sources/tree.ts';

export interface RegistryLogin {
  username: string;
  password: string;
  serveraddress: string;
}

const dockerHub = 'https://index.docker.io/v1/';

/** Null where the file has none for that registry. Credential helpers are programs of a desktop and are not asked. */
export async function registryLogin(loginsFile: string | null, reference: string): Promise<RegistryLogin | null> {
  const text = loginsFile === null ? undefined : await readText(loginsFile);
  if (text === undefined || loginsFile === null) return null;
  const host = registryHost(reference);
  const addresses =
    host === null ? [dockerHub] : [host, `https://${host}`, `https://${host}/v1/`, `https://${host}/v2/`];
  const logins = loginsOf(loginsFile, text);
  const address = addresses.find((one) => logins[one]?.auth !== undefined);
  if (address === undefined) return null;
  const [username = '', ...rest] = Buffer.from(logins[address]?.auth ?? '', 'base64')
    .toString('utf8')
    .split(':');
  return { username, password: rest.join(':'), serveraddress: address };
}

function loginsOf(file: string, text: string): Record<string, { auth?: string }> {
  try {
    return (JSON.parse(text) as { auths?: Record<string, { auth?: string }> }).auths ?? {};
  } catch (error) {
    // What is in it stays out of the message: it may be a password.
    throw new Error(`${file} is not JSON, so no login of a registry can be read from it.`, { cause: error });
  }
}

/** As docker reads names: the first part is a host when it has a dot or a port, or is localhost. */
function registryHost(reference: string): string | null {
  const [first = '', rest] = [reference.split('/')[0], reference.includes('/')];
  return rest && (/[.:]/.test(first) || first === 'localhost') ? first : null;
}
