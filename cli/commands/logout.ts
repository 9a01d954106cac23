import type { Command } from 'commander';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { hostsPath, parseServerUrl, readHosts, writeHosts } from '#cli/settings.ts';

export function addLogoutCommand(program: Command, context: Context): void {
  program
    .command('logout')
    .summary('forget the token of a server')
    .description(
      'Removes the token from this machine. It stays valid elsewhere until it expires or is revoked. No other server takes the place of the one that was in use.',
    )
    .argument('[url]', 'address of the server; the one in use when absent')
    .action((url: string | undefined) => logout(context, url));
}

async function logout(context: Context, given: string | undefined): Promise<void> {
  const { current, hosts } = await readHosts(context.env);
  const asked = given ?? context.env.ASSAY_URL ?? current;
  const url = asked === null ? null : parseServerUrl(asked);
  if (url === null || hosts[url] === undefined) {
    const known = Object.keys(hosts);
    const rest = known.length === 0 ? 'Nothing is stored.' : `Stored are: ${known.join(', ')}.`;
    throw new CliError(`Not logged in${url === null ? '' : ` to ${url}`}. ${rest}`);
  }
  const { [url]: _forgotten, ...others } = hosts;
  await writeHosts(context.env, { current: current === url ? null : current, hosts: others });
  context.terminal.note(`Logged out of ${url}; its token is no longer in ${hostsPath(context.env)}.`);
}
