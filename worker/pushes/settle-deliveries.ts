// Settles deliveries that were taken in: reads the pushed commit's own project file and either inserts a run or records
// why there is none. Projects do not wait for each other's remotes; deliveries of one project go in order of arrival.
import { readPushTriggers } from '#contract/push-triggers.ts';
import { DomainError } from '#core/errors.ts';
import { defaultPriority } from '#core/priority.ts';
import { type PushTriggers, whyNoRun } from '#core/push.ts';
import type { Connection } from '#db/connect.ts';
import {
  type DueDelivery,
  giveBackDeliveries,
  listProjectsToSettle,
  postponeDelivery,
  settleDelivery,
  type Settlement,
  takeDueDeliveries,
} from '#db/deliveries.ts';
import { plainSubmit } from '#db/submit.ts';
import { isDatabaseUnavailable } from '#db/unavailable.ts';
import { pathGlob } from '#git/code-digest.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { CommitFile } from '#git/pushed.ts';
import type { Logger } from '#worker/logger.ts';
import { startTicking } from '#worker/ticking.ts';

const everyMs = 500;
const projectsMax = 8;
const batchMax = 20;
/**
 * Both together stay below the lease. Waiting for a fetch ends, the fetch itself goes on, and a later attempt finds its
 * commit. After `batchMs` what is left of a batch is given back.
 */
const fetchWaitMs = 20_000;
const batchMs = 10_000;
const leaseSeconds = 45;
/** About two hours, in which a remote or its login may come back. */
const attemptsMax = 20;
/** Of a commit that the remote does not have: long enough for its replicas to agree. */
const missingAttemptsMax = 5;
const firstDelaySeconds = 2;
const delaySecondsMax = 600;
const projectFileBytesMax = 1024 * 1024;

export interface SettleDeps {
  connection: Pick<Connection, 'pool'>;
  mirrors: Pick<Mirrors, 'ensure' | 'fetchRemote' | 'readCommitFile' | 'changedPaths'>;
  log: Logger;
}

export function startSettlingDeliveries(deps: SettleDeps): { stop(): Promise<void> } {
  const busy = new Map<string, Promise<void>>();
  const stopping = new AbortController();

  const settleProject = async (projectId: string): Promise<void> => {
    while (!stopping.signal.aborted && (await settleSome(deps, projectId, stopping.signal)) > 0);
  };

  const pass = async (): Promise<void> => {
    const room = projectsMax - busy.size;
    if (room === 0) return;
    for (const id of await listProjectsToSettle(deps.connection.pool, { except: [...busy.keys()], max: room })) {
      const work = settleProject(id)
        .catch((error: unknown) =>
          deps.log.warn({ error, project: id }, 'settling deliveries goes on at the next tick'),
        )
        .finally(() => busy.delete(id));
      busy.set(id, work);
    }
  };

  const ticking = startTicking(everyMs, pass, deps.log, 'settling deliveries');
  return {
    async stop() {
      stopping.abort(new Error('the worker stops'));
      await ticking.stop();
      await Promise.all(busy.values());
    },
  };
}

/** Settles the next deliveries of a project; answers how many were taken. */
async function settleSome(deps: SettleDeps, projectId: string, signal: AbortSignal): Promise<number> {
  const { pool } = deps.connection;
  const taken = await takeDueDeliveries(pool, projectId, { max: batchMax, leaseSeconds });
  const end = performance.now() + batchMs;
  for (const [at, delivery] of taken.entries()) {
    if (signal.aborted || performance.now() > end) {
      await giveBack(deps, taken.slice(at));
      break;
    }
    try {
      await settleDelivery(pool, delivery, await judge(deps, delivery, signal));
    } catch (error) {
      if (signal.aborted) await giveBack(deps, taken.slice(at));
      else await putOff(deps, error, isOfCommit(error) ? [delivery] : taken.slice(at));
      if (signal.aborted || !isOfCommit(error)) break;
    }
  }
  return taken.length;
}

async function giveBack({ connection }: SettleDeps, left: readonly DueDelivery[]): Promise<void> {
  await giveBackDeliveries(
    connection.pool,
    left.map((delivery) => delivery.id),
  );
}

/** How often a failure is tried again. What is too large stays so; what the remote refuses may pass. */
function attemptsOf(error: unknown): number {
  if (!(error instanceof DomainError)) return attemptsMax;
  if (error.code === 'source-too-large') return 1;
  return error.code === 'commit-not-found' ? missingAttemptsMax : attemptsMax;
}

/** Whether the failure is of this commit and says nothing about the next one. */
function isOfCommit(error: unknown): boolean {
  return attemptsOf(error) !== attemptsMax;
}

/** A remote that fails for one delivery fails for those behind it too. */
async function putOff(deps: SettleDeps, error: unknown, left: readonly DueDelivery[]): Promise<void> {
  const { pool } = deps.connection;
  const failure = sentenceOf(error);
  if (!(error instanceof DomainError))
    deps.log.warn({ error, delivery: left[0]?.id }, 'a delivery could not be settled');
  for (const delivery of left) {
    const { attempts } = delivery;
    if (attempts >= attemptsOf(error)) {
      const tried = attempts === 1 ? '' : `It could not be settled in ${attempts} attempts. `;
      await settleDelivery(pool, delivery, { reason: tried + failure });
    } else {
      const delaySeconds = Math.min(firstDelaySeconds * 2 ** (attempts - 1), delaySecondsMax);
      await postponeDelivery(pool, delivery.id, { failure, delaySeconds });
    }
  }
}

/** What a remote or git says stays in the log: a hostile one would write into what people read. */
export function sentenceOf(error: unknown): string {
  if (error instanceof DomainError) return error.message;
  if (isDatabaseUnavailable(error)) return 'The database did not answer.';
  if (error instanceof Error && error.name === 'TimeoutError') return 'The remote did not answer in time.';
  return 'The remote could not be reached, or git failed; the worker’s log says how.';
}

async function judge(deps: SettleDeps, delivery: DueDelivery, signal: AbortSignal): Promise<Settlement> {
  const { project, branch, commit } = delivery;
  const found = await readPushed(deps, delivery, signal);
  const triggers = triggersOf(found.file, project.defaultBranch);
  if ('reason' in triggers) return triggers;
  const isFiltered = triggers.paths.length > 0 && delivery.before !== null;
  const changed = isFiltered ? await deps.mirrors.changedPaths(project.id, delivery.before ?? '', commit) : null;
  const reason = whyNoRun(triggers, { branch, message: found.message, changed }, pathGlob);
  if (reason !== null) return { reason };
  return { submit: submitOf(delivery) };
}

/** The commit as it is here, fetched first if it is not. @throws commit-not-found */
async function readPushed(
  { mirrors }: SettleDeps,
  { project, commit, branch }: DueDelivery,
  signal: AbortSignal,
): Promise<CommitFile> {
  const read = () => mirrors.readCommitFile(project.id, commit, 'assay.yaml', projectFileBytesMax);
  await mirrors.ensure(project.id);
  const here = await read();
  if (here !== null) return here;
  if (project.remoteUrl === null) {
    throw new DomainError(
      'commit-not-found',
      `The commit ${commit} is not here, and the project has no remote to fetch it from. Set one: \`assay projects set ${project.name} --remote URL\`.`,
    );
  }
  await mirrors.fetchRemote(project.id, project.remoteUrl, AbortSignal.any([signal, AbortSignal.timeout(fetchWaitMs)]));
  const fetched = await read();
  if (fetched !== null) return fetched;
  throw new DomainError(
    'commit-not-found',
    `No branch or tag of the remote has the commit ${commit}, which was announced for ${branch}.`,
  );
}

/** A file that can not be read as far as its triggers starts nothing, and says so. */
function triggersOf(text: string | null, defaultBranch: string): PushTriggers | { reason: string } {
  try {
    return readPushTriggers(text, defaultBranch);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { reason: error.message };
  }
}

function submitOf({
  id,
  project,
  owner,
  branch,
  commit,
}: DueDelivery): Extract<Settlement, { submit: unknown }>['submit'] {
  return {
    projectId: project.id,
    owner,
    ref: branch,
    commit,
    branch,
    ...plainSubmit,
    trigger: { kind: 'push', branch, delivery: id },
    priority: defaultPriority,
  };
}
