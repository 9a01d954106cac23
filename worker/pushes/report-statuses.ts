// Tells git hosts what became of their pushes. What is wanted is a row, written with the run's status; it is sent from
// here, the newest state only, and never holds up a run.
import type { KeyObject } from 'node:crypto';
import { gitCredentials, gitSecretName } from '#activities/git-credentials.ts';
import { commitStatusOf, type CommitStatus } from '#core/commit-status.ts';
import { DomainError } from '#core/errors.ts';
import { type HostKind, hostKinds } from '#core/push.ts';
import { recordNotSent, recordSent, type StatusToSend, takeDueStatuses } from '#db/commit-statuses.ts';
import type { Connection } from '#db/connect.ts';
import { knownHostKind, statusRequest } from '#git/host/commit-status.ts';
import { type HostAccess, type HostAnswer, postToHost } from '#git/host/request.ts';
import { parseRemote, type Remote } from '#git/remote.ts';
import type { Logger } from '#worker/logger.ts';
import { startTicking } from '#worker/ticking.ts';

const everyMs = 1_000;
const batchMax = 16;
const requestMsMax = 10_000;
const leaseSeconds = 60;
const firstDelaySeconds = 5;
const delaySecondsMax = 900;

export interface ReportDeps {
  connection: Connection;
  hosts: HostAccess;
  /** Opens the login of a project's remote. */
  secretsKey: KeyObject;
  publicUrl: string;
  log: Logger;
}

export function startReportingStatuses(deps: ReportDeps): { stop(): Promise<void> } {
  return startTicking(everyMs, () => reportStatuses(deps), deps.log, 'telling git hosts');
}

/** One pass. Hosts do not wait for each other: a slow one takes its time beside the others, bounded by its deadline. */
export async function reportStatuses(deps: ReportDeps): Promise<void> {
  const taken = await takeDueStatuses(deps.connection.pool, { max: batchMax, leaseSeconds });
  await Promise.all(taken.map((wanted) => report(deps, wanted)));
}

async function report(deps: ReportDeps, wanted: StatusToSend): Promise<void> {
  const { pool } = deps.connection;
  const status = commitStatusOf(wanted);
  const shown = `${status.state}: ${status.description}`;
  if (shown === wanted.shown) return await recordSent(pool, wanted, shown);
  const outcome = await send(deps, wanted, status);
  if (outcome === 'sent') return await recordSent(pool, wanted, shown);
  await recordNotSent(pool, wanted, outcome);
}

type Outcome = 'sent' | { failure: string; delaySeconds: number | null };

async function send(deps: ReportDeps, wanted: StatusToSend, status: CommitStatus): Promise<Outcome> {
  try {
    const remote = parseRemote(wanted.project.remoteUrl);
    const kind = hostKindOf(wanted, remote);
    const token = await tokenFor(deps, wanted.project.id, remote);
    const request = statusRequest(kind, remote, token, {
      ...status,
      commit: wanted.commit,
      branch: wanted.branch,
      context: `assay/${wanted.project.name}`,
      targetUrl: `${deps.publicUrl}/api/v1/runs/${wanted.runId}`,
    });
    return outcomeOf(wanted, status, remote, kind, await postToHost(request, deps.hosts, requestMsMax));
  } catch (error) {
    if (error instanceof DomainError) return { failure: error.message, delaySeconds: null };
    deps.log.warn({ error, run: wanted.runId }, 'a git host could not be told');
    return { failure: 'The host did not answer.', delaySeconds: delayAfter(wanted.attempts) };
  }
}

/** What the project says, else what the host's name says, else who announced the push. */
function hostKindOf({ project, source }: StatusToSend, remote: Remote): HostKind {
  const announced = hostKinds.find((kind) => kind === source) ?? null;
  const kind = project.hostKind ?? knownHostKind(remote.host) ?? announced;
  if (kind !== null) return kind;
  throw new DomainError(
    'invalid-remote',
    `Nobody said which API ${remote.host} speaks: \`assay projects set ${project.name} --host-kind github|gitlab|gitea\`.`,
  );
}

async function tokenFor({ connection, secretsKey }: ReportDeps, projectId: string, remote: Remote): Promise<string> {
  const login = await gitCredentials({ db: connection.db, secretsKey }, projectId, remote.host);
  if (login?.kind === 'https') return login.password;
  throw new DomainError(
    'secret-missing',
    `There is no token for ${remote.host}: set the secret ${gitSecretName(remote.host)} to one that may write commit statuses.`,
  );
}

function outcomeOf(
  { attempts }: StatusToSend,
  { state }: CommitStatus,
  remote: Remote,
  kind: HostKind,
  { status, text, retryAfterSeconds }: HostAnswer,
): Outcome {
  if (status >= 200 && status < 300) return 'sent';
  // GitLab refuses the state that it has, which is how a state looks whose first answer got lost.
  if (kind === 'gitlab' && status === 400 && state === 'pending' && text.includes('Cannot transition status'))
    return 'sent';
  if (status === 429 || status >= 500) {
    const wait = Math.max(delayAfter(attempts), Math.min(retryAfterSeconds ?? 0, delaySecondsMax));
    return { failure: `${remote.host} answered ${status}.`, delaySeconds: wait };
  }
  return { failure: `${remote.host} answered ${status}${adviceFor(status, remote)}`, delaySeconds: null };
}

function adviceFor(status: number, remote: Remote): string {
  if (status === 401 || status === 403)
    return `: the token in ${gitSecretName(remote.host)} may not write commit statuses.`;
  if (status === 404) return ': it has no such repository or commit, or hides it from the token.';
  return '.';
}

function delayAfter(attempts: number): number {
  return Math.min(firstDelaySeconds * 2 ** (attempts - 1), delaySecondsMax);
}
