// Polls remotes for heads that no webhook announced: git hosts do not always deliver, and some can not reach the server.
import { sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import type { Connection } from '#db/connect.ts';
import { listRemotesToPoll, recordHeads, recordPollFailure, type RemoteToPoll } from '#db/remote-polls.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { Logger } from '#worker/logger.ts';
import { startTicking } from '#worker/ticking.ts';
import { sentenceOf } from './settle-deliveries.ts';

const everyMs = 5_000;
const remotesMax = 40;
const parallelMax = 4;
const lookMsMax = 30_000;
/** Any constant that nothing else in the database uses; held by the one poller that works. */
const pollerLock = 4_207_310;

export interface PollDeps {
  connection: Connection;
  mirrors: Pick<Mirrors, 'remoteHeads'>;
  log: Logger;
}

export function startPollingRemotes(deps: PollDeps): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const ticking = startTicking(everyMs, () => pollRemotes(deps, stopping.signal), deps.log, 'polling remotes');
  return {
    async stop() {
      stopping.abort(new Error('the worker stops'));
      await ticking.stop();
    },
  };
}

/** One pass; when another process holds the lock it does nothing. */
export async function pollRemotes(deps: PollDeps, signal: AbortSignal): Promise<void> {
  await deps.connection.db.transaction(async (tx) => {
    const lock = await tx.execute<{ held: boolean }>(sql`select pg_try_advisory_xact_lock(${pollerLock}) as held`);
    if (lock.rows[0]?.held !== true) return;
    const due = await listRemotesToPoll(deps.connection.pool, remotesMax);
    const next = due.values();
    await Promise.all(
      Array.from({ length: parallelMax }, async () => {
        for (const remote of next) if (!signal.aborted) await poll(deps, remote, signal);
      }),
    );
  });
}

async function poll(deps: PollDeps, remote: RemoteToPoll, signal: AbortSignal): Promise<void> {
  const { pool } = deps.connection;
  const until = AbortSignal.any([signal, AbortSignal.timeout(lookMsMax)]);
  const heads = await deps.mirrors.remoteHeads(remote.projectId, remote.remoteUrl, until).catch((error: unknown) => {
    if (!signal.aborted && !(error instanceof DomainError))
      deps.log.warn({ error, project: remote.projectId }, 'a remote could not be polled');
    return sentenceOf(error);
  });
  if (signal.aborted) return;
  if (typeof heads === 'string') await recordPollFailure(pool, remote, heads);
  else await recordHeads(pool, remote, heads);
}
