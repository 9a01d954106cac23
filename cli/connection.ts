// The way to the server.
import { type Client, createClient } from '#sdk/client.ts';
import type { Context } from './context.ts';
import { CliError, exitCodes } from './errors.ts';
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
      `Not logged in to ${server.url}: start Assay on this machine with "npm start", or run "assay login URL".`,
      { exitCode: exitCodes.notLoggedIn },
    );
  }
  return { client: createClient({ url: server.url, token: server.token }), server };
}

export async function connectClient(context: Context): Promise<Client> {
  return (await connect(context)).client;
}
