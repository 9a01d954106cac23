import { inject } from 'vitest';

/** The run's Temporal server, which this call starts if no test did so before. Give queues and workflow ids a random part. */
export async function testTemporal(): Promise<{ address: string; namespace: string }> {
  const response = await fetch(`${inject('servicesUrl')}/temporal`);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as { address: string; namespace: string };
}
