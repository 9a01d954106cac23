// The way to the server.
import { type Client, createClient } from '#sdk/client.ts';
import type { Context } from './context.ts';
import { CliError, exitCodes } from './errors.ts';
import { installation } from './installation.ts';
import { fetchWatchingVersion } from './server-version.ts';
import { findServer, type Server } from './settings.ts';

export interface Connection {
  client: Client;
  server: Server;
}

/** @throws CliError with the exit code of "not logged in" when no token is known. Sends nothing yet. */
export async function connect(context: Context): Promise<Connection> {
  const server = await findServer(context.env);
  if (server.token === null) {
    throw new CliError(
      installation.isClientOnly
        ? `Not logged in to ${server.url}: this is the command line alone, without a server; run "assay login URL".`
        : `Not logged in to ${server.url}: start Assay on this machine with "npm start", or run "assay login URL".`,
      { exitCode: exitCodes.notLoggedIn },
    );
  }
  const { url, token } = server;
  return { client: createClient({ url, token, fetch: fetchWatchingVersion(context, url) }), server };
}

export async function connectClient(context: Context): Promise<Client> {
  return (await connect(context)).client;
}
