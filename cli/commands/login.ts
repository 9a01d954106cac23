import type { Command } from 'commander';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { formatJson } from '#cli/output.ts';
import { readHidden } from '#cli/prompt.ts';
import { findServer, hostsPath, readHosts, trimSlash, writeHosts } from '#cli/settings.ts';
import { createClient } from '#sdk/client.ts';

export function addLoginCommand(program: Command, context: Context): void {
  program
    .command('login')
    .summary('remember a server and a token')
    .description(
      'Checks the token and stores it, readable by you only. The token is read from the keyboard without showing it, or from a pipe. Not needed for the stack that runs on this machine.',
    )
    .argument('[url]', 'address of the server, for example https://assay.example.org')
    .option('--json', 'print who the token is, as JSON')
    .action((url: string | undefined, options: JsonOption) => login(context, url, options));
}

async function login(context: Context, given: string | undefined, options: JsonOption): Promise<void> {
  const url = parseUrl(given ?? (await findServer(context.env)).url);
  const token = (await readHidden(context, `a token for ${url}`)).trim();
  const me = await createClient({ url, token }).me();
  const hosts = await readHosts(context.env);
  await writeHosts(context.env, { current: url, hosts: { ...hosts.hosts, [url]: { token, owner: me.owner } } });
  if (options.json) context.terminal.write(formatJson(me));
  else context.terminal.write(`Logged in to ${url} as ${me.owner} (${me.role}); stored in ${hostsPath(context.env)}\n`);
}

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '') {
    throw new CliError(`Found "${text}"; expected the server's address, for example https://assay.example.org.`);
  }
  return trimSlash(`${url.origin}${url.pathname}`);
}
