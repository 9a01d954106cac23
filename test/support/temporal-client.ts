// A client of a real Temporal server in a namespace of its own, without any worker.
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { ensureNamespace } from '#worker/temporal/namespace.ts';
import { testTemporal } from './temporal.ts';

export async function createTemporalClient(): Promise<Client> {
  const { address } = await testTemporal();
  const namespace = `test-${randomUUID()}`;
  const connection = await Connection.connect({ address });
  await ensureNamespace(connection, namespace);
  return new Client({ connection, namespace });
}
