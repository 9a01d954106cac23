// Health: whether the process lives, and whether each part it needs answers. Both are public and say nothing secret.
import { sql } from 'drizzle-orm';
import type { FastifyInstance } from 'fastify';
import type { Readiness } from '#contract/health.ts';
import type { ApiDeps } from '#api/deps.ts';

type Part = Readiness['parts']['postgres'];

const probeMs = 2_000;
/** Any name: only whether the store answers counts. */
const probeBlob = '0'.repeat(64);

export function healthRoutes(app: FastifyInstance, deps: ApiDeps): void {
  const config = { permission: 'public' } as const;
  const schema = { hide: true };

  app.get('/health', { config, schema }, async () => ({ status: 'alive' }));

  app.get('/ready', { config, schema }, async (_request, reply) => {
    const [postgres, temporal, storage] = await Promise.all([
      probe(() => deps.connection.db.execute(sql`select 1`)),
      probe(() => askTemporal(deps)),
      probe(() => deps.store.stat(probeBlob)),
    ]);
    const works = postgres.state === 'ready' && storage.state === 'ready';
    const status = !works ? 'unavailable' : temporal.state === 'ready' ? 'ready' : 'degraded';
    const answer: Readiness = { status, parts: { postgres, temporal, storage } };
    return reply.status(works ? 200 : 503).send(answer);
  });
}

async function askTemporal({ temporal }: ApiDeps): Promise<void> {
  const client = temporal();
  if (client === null) throw new Error('not connected yet');
  await client.withDeadline(Date.now() + probeMs, () => client.workflowService.getSystemInfo({}));
}

/** What went wrong stays inside: an address or a user name is nobody's business on a public route. */
async function probe(ask: () => Promise<unknown>): Promise<Part> {
  const late = new Promise<'late'>((resolve) => setTimeout(resolve, probeMs, 'late').unref());
  const answer = await Promise.race([
    ask().then(
      () => 'ready' as const,
      () => 'failed' as const,
    ),
    late,
  ]);
  if (answer === 'ready') return { state: 'ready', detail: null };
  return { state: 'unavailable', detail: answer === 'late' ? `no answer within ${probeMs} ms` : 'does not answer' };
}
