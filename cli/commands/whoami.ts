import type { Command } from 'commander';
import { connect } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatFields, formatJson } from '#cli/output.ts';
import { readHosts } from '#cli/settings.ts';

export function addWhoamiCommand(program: Command, context: Context): void {
  program
    .command('whoami')
    .summary('say which server is used, and as whom')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => whoami(context, options));
}

async function whoami(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const { client, server } = await connect(context);
  const me = await client.me();
  if (options.json) return terminal.write(formatJson(me));
  const others = Object.keys((await readHosts(context.env)).hosts).filter((url) => url !== server.url);
  terminal.write(
    formatFields(terminal, [
      ['server', server.url],
      ['owner', me.owner],
      ['role', me.role],
      ['project', me.project ?? 'every project'],
      ['token', `${me.token}, from ${server.source}`],
      ['expires', me.expiresAt ?? 'never'],
      ['others', others.length === 0 ? null : others.join(', ')],
    ]),
  );
}
