// Deliveries of git hosts: signed, taken in, answered at once. What they start is decided in the control worker, which
// reads the commit.
import { createHash, randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ZodError } from 'zod';
import type { DeliveryAnswer } from '#contract/deliveries.ts';
import { type PushEvent, readGenericEvent, readHostEvent } from '#contract/push-events.ts';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { branchOf, type HostKind, ignoredAtOnce } from '#core/push.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { idCursor, pageOf } from '#api/paging.ts';
import { HttpError } from '#api/problems.ts';
import { serve } from '#api/serve.ts';
import { isOutOfTime, isSignedBy, type Signed } from '#api/webhook-signature.ts';
import {
  type Announced,
  createDeliveryIntake,
  type DeliveryRow,
  listDeliveries,
  type TakenIn,
} from '#db/deliveries.ts';
import { createHookLookup } from '#db/hooks.ts';
import { parseReference } from '#git/reference.ts';

type Source = HostKind | 'generic';

/** GitHub's own limit is 25 MB, but a push that names thousands of commits stays below this. */
const bodyBytesMax = 5 * 1024 * 1024;
/** Deliveries in a minute: unsigned ones of an address, signed ones of a project. */
const refusedMax = 60;
const takenMax = 30_000;
const deliveryIdPattern = /^[\x21-\x7e]{1,200}$/;

export function deliveryRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  serve(app, routes.listDeliveries, async ({ principal, params, query: { limit, cursor } }) => {
    const { id, name } = await access.project(principal, params.project);
    const rows = await listDeliveries(deps.connection.db, id, { limit: limit + 1, before: idCursor(cursor) });
    const page = pageOf(rows, limit, (row) => row.id);
    return { ...page, items: page.items.map((row) => deliveryView(name, row)) };
  });
  // A scope of its own, because here a body is bytes until its signature was checked.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/json',
      { parseAs: 'buffer', bodyLimit: bodyBytesMax },
      async (_request: FastifyRequest, body: unknown) => body,
    );
    receiveRoutes(scope, deps);
  });
}

function receiveRoutes(app: FastifyInstance, deps: ApiDeps): void {
  const { pool } = deps.connection;
  const lookUp = createHookLookup(pool, deps.secretsKey);
  const takeIn = createDeliveryIntake(pool);
  const countRefused = app.createRateLimit({ max: refusedMax, timeWindow: 60_000 });
  const countTaken = app.createRateLimit({
    max: takenMax,
    timeWindow: 60_000,
    keyGenerator: (request) => (request.params as { project: string }).project,
  });
  // Deliveries to a project that does not exist take the same way as badly signed ones.
  const nobodysSecret = randomBytes(32).toString('base64');

  const receivers = {
    github: routes.receiveGithub,
    gitlab: routes.receiveGitlab,
    gitea: routes.receiveGitea,
    generic: routes.receiveGeneric,
  } as const;

  for (const [source, route] of Object.entries(receivers) as [Source, (typeof receivers)[Source]][]) {
    serve(
      app,
      route,
      async ({ params, request, reply }) => {
        const signed = { headers: request.headers, body: bytesOf(request.body) };
        const hook = await lookUp(params.project);
        const isGenuine = isSignedBy(source, signed, hook?.secrets ?? [nobodysSecret]);
        if (hook === undefined || !isGenuine || isOutOfTime(source, signed, Date.now())) {
          refuse(await countRefused(request));
        }
        if (hook === undefined) throw new TypeError('a delivery to no project was refused before');
        refuseFlood(await countTaken(request));
        const event = eventOf(source, signed);
        if (event.kind === 'other') return passedOver(event.what);
        const taken = await takeIn(announcedOf(hook.projectId, source, signed, event));
        if (taken.differs) throw reused();
        if (taken.outcome !== 'ignored') reply.status(202);
        return answerOf(hook.projectName, taken);
      },
      { bodyBytesMax },
    );
  }
}

type Counted = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>;

/** One answer for a missing, wrong or old signature and for a project that does not exist. */
function refuse(counted: Counted): never {
  if (!counted.isAllowed && counted.isExceeded) throw tooMany(counted.ttlInSeconds);
  throw new HttpError(
    'unauthenticated',
    "The delivery is not signed with a webhook secret of the project, or its timestamp is more than 5 minutes off. Compare the secret in the host's settings; `assay hooks rotate` makes a new one.",
  );
}

function refuseFlood(counted: Counted): void {
  if (!counted.isAllowed && counted.isExceeded) throw tooMany(counted.ttlInSeconds);
}

function tooMany(seconds: number): HttpError {
  return new HttpError('too-many-requests', `Too many deliveries in a minute. Send again in ${seconds} s.`, {
    'retry-after': String(seconds),
  });
}

function reused(): DomainError {
  return new DomainError(
    'conflict',
    'An earlier delivery with the same id said something else. Send what is new under an id of its own.',
  );
}

/** A request without a body has none to look at. */
function bytesOf(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

const eventHeaders: Record<HostKind, readonly string[]> = {
  github: ['x-github-event'],
  gitlab: ['x-gitlab-event'],
  gitea: ['x-forgejo-event', 'x-gitea-event'],
};

function eventOf(source: Source, signed: Signed): PushEvent {
  const payload = parseJson(signed.body);
  try {
    if (source === 'generic') return readGenericEvent(payload);
    return readHostEvent(source, firstHeader(signed, eventHeaders[source]).slice(0, 100), payload);
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    const [issue] = error.issues;
    const path = ['body', ...(issue?.path ?? []).map(String)].join('.');
    throw invalid(path, issue?.message ?? 'not a push');
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalid('body', 'the delivery is signed but no JSON; choose application/json in the host’s settings');
  }
}

function invalid(path: string, message: string): DomainError {
  return new DomainError('invalid-request', `${path}: ${message}.`, [{ path, message }]);
}

function announcedOf(
  projectId: string,
  source: Source,
  signed: Signed,
  event: Extract<PushEvent, { kind: 'push' | 'ping' }>,
): Announced {
  const deliveryId = deliveryIdOf(source, signed);
  const nothing = { ref: null, branch: null, before: null, commit: null };
  if (event.kind === 'ping') return { projectId, source, deliveryId, ...nothing, reason: 'It is a ping.' };
  const { ref, before, after: commit } = event.push;
  // The rules of git: a name that git refuses is no reference, and nothing later has to defend itself against it.
  parseReference(ref);
  return {
    projectId,
    source,
    deliveryId,
    ref,
    branch: branchOf(ref),
    before,
    commit,
    reason: ignoredAtOnce(event.push),
  };
}

const idHeaders: Record<Source, readonly string[]> = {
  github: ['x-github-delivery'],
  gitea: ['x-forgejo-delivery', 'x-gitea-delivery'],
  gitlab: ['webhook-id', 'idempotency-key'],
  generic: ['webhook-id'],
};

/** Older GitLab sends no id that a retry repeats; the same body is then the same delivery. */
function deliveryIdOf(source: Source, signed: Signed): string {
  const id = firstHeader(signed, idHeaders[source]);
  if (id === '' && source === 'gitlab') return `sha256:${createHash('sha256').update(signed.body).digest('hex')}`;
  if (deliveryIdPattern.test(id)) return id;
  const [name = ''] = idHeaders[source];
  throw invalid(`headers.${name}`, 'expected the id of the delivery, 1 to 200 visible ASCII characters');
}

function firstHeader({ headers }: Signed, names: readonly string[]): string {
  return String(names.map((name) => headers[name]).find((value) => value !== undefined) ?? '');
}

function passedOver(reason: string): DeliveryAnswer {
  return { delivery: null, outcome: 'ignored', run: null, reason };
}

function answerOf(project: string, taken: TakenIn): DeliveryAnswer {
  const { id: delivery, outcome, reason, runNumber } = taken;
  return { delivery, outcome, run: runNumber === null ? null : `${project}/${runNumber}`, reason };
}

function deliveryView(project: string, { runNumber, ...row }: DeliveryRow) {
  return { ...row, run: runNumber === null ? null : `${project}/${runNumber}` };
}
