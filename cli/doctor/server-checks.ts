// What `assay doctor` asks the server.
import { versionHeader } from '#contract/health.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { createClient } from '#sdk/client.ts';
import type { Check } from './machine-checks.ts';
import { howToInstall, installation, isOtherVersion } from '#cli/installation.ts';
import { type Environment, findServer, type Server } from '#cli/settings.ts';

/** Whether a server answers, and whether it knows the token. */
export async function checkServer(env: Environment): Promise<Check[]> {
  const server = await findServer(env);
  try {
    return [...(await checkReadiness(server)), await checkToken(server)];
  } catch (error) {
    // Another program on the port answers with something that is no JSON.
    if (!(error instanceof UnreachableError || error instanceof SyntaxError)) throw error;
    const fix = installation.isClientOnly
      ? 'name one with "assay login URL"; this is the command line alone, without a server'
      : 'start one with "npm start" in Assay\'s folder, or name one with "assay login URL"';
    return [{ what: 'server', state: 'missing', found: `nothing answers as Assay at ${server.url}`, fix }];
  }
}

async function checkReadiness({ url }: Server): Promise<Check[]> {
  let version: string | null = null;
  const client = createClient({
    url,
    token: '',
    fetch: async (...request) => {
      const response = await fetch(...request);
      version = response.headers.get(versionHeader);
      return response;
    },
  });
  const { status, parts } = await client.ready();
  const down = Object.entries(parts).filter(([, part]) => part.state !== 'ready');
  const reasons = down.map(([name, part]) => `; ${name}: ${part.detail ?? part.state}`);
  const fix = status === 'ready' ? null : 'look at the output of "npm start" or at the server\'s log';
  const state = status === 'unavailable' ? 'missing' : 'ok';
  const server: Check = { what: 'server', state, found: `${url} is ${status}${reasons.join('')}`, fix };
  return version === null ? [server] : [server, checkVersion(url, version)];
}

function checkVersion(url: string, theirs: string): Check {
  const own = installation.version;
  if (!isOtherVersion(theirs)) return { what: 'version', state: 'ok', found: own, fix: null };
  return { what: 'version', state: 'optional', found: `${own}, the server has ${theirs}`, fix: howToInstall(url) };
}

async function checkToken({ url, token, source }: Server): Promise<Check> {
  const fix = 'get a token (an operator runs "assay tokens create NAME") and run "assay login URL"';
  if (token === null) return { what: 'token', state: 'missing', found: 'none known for this server', fix };
  try {
    const me = await createClient({ url, token }).me();
    return { what: 'token', state: 'ok', found: `${me.owner} (${me.role}), from ${source}`, fix: null };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { what: 'token', state: 'missing', found: `${error.problem.detail} (from ${source})`, fix };
  }
}
