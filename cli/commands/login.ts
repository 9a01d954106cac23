import type { Command } from 'commander';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { formatJson } from '#cli/output.ts';
import { readAll, readHidden } from '#cli/prompt.ts';
import { fetchWatchingVersion } from '#cli/server-version.ts';
import { findServer, hostsPath, parseServerUrl, readHosts, writeHosts } from '#cli/settings.ts';
import { createClient } from '#sdk/client.ts';

interface LoginOptions extends JsonOption {
  tokenStdin?: boolean;
}

export function addLoginCommand(program: Command, context: Context): void {
  program
    .command('login')
    .summary('remember a server and a token')
    .description(
      'Checks the token and stores it, readable by you only. The token is read from the keyboard without showing it, or from a pipe. Further servers stay known; --server names one of them. Not needed for the stack that runs on this machine.',
    )
    .argument('[url]', 'address of the server, for example https://assay.example.org')
    .option('--token-stdin', 'read the token from standard input, which is not a terminal')
    .option('--json', 'print who the token is, as JSON')
    .action((url: string | undefined, options: LoginOptions) => login(context, url, options));
}

async function login(context: Context, given: string | undefined, options: LoginOptions): Promise<void> {
  const url = parseServerUrl(given ?? (await findServer(context.env)).url);
  if (travelsInClear(url)) {
    const warning = `${url} has no https: whoever is on the way can read the token and everything else.`;
    context.terminal.note(`${context.terminal.paintNote('yellow', 'warning')}: ${warning}`);
  }
  const token = await readToken(context, url, options);
  const me = await createClient({ url, token, fetch: fetchWatchingVersion(context, url) }).me();
  const hosts = await readHosts(context.env);
  await writeHosts(context.env, { current: url, hosts: { ...hosts.hosts, [url]: { token, owner: me.owner } } });
  if (options.json) context.terminal.write(formatJson(me));
  else context.terminal.write(`Logged in to ${url} as ${me.owner} (${me.role}); stored in ${hostsPath(context.env)}\n`);
}

async function readToken(context: Context, url: string, { tokenStdin }: LoginOptions): Promise<string> {
  if (tokenStdin !== true) return checkToken(await readHidden(context, `a token for ${url}`));
  if (context.stdin.isTTY) {
    throw new CliError('--token-stdin reads from a pipe or a file, and standard input is a terminal: leave it out.');
  }
  return checkToken(await readAll(context.stdin));
}

/** What cannot be a header is refused here, in words of ours. */
function checkToken(text: string): string {
  const token = text.trim();
  if (/^[\w-]{1,200}$/.test(token)) return token;
  throw new CliError(`Found ${token === '' ? 'nothing' : 'something else'} where a token was expected: assay_….`);
}

function travelsInClear(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}
