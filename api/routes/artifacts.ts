import type { FastifyInstance, FastifyReply } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import { sendBlob } from '#api/blob-answer.ts';
import type { ApiDeps } from '#api/deps.ts';
import { type Call, serve } from '#api/serve.ts';
import { findArtifact, listArtifacts } from '#db/artifacts.ts';
import { findBlobsOfRun, type RunBlob } from '#db/run-blobs.ts';

export function artifactRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { connection, store } = deps;
  const { db } = connection;

  serve(app, routes.listArtifacts, async ({ principal, params, query }) => {
    return { items: await listArtifacts(db, await access.run(principal, params.run), query) };
  });

  serve(app, routes.getArtifact, async ({ principal, params, query, request, reply }) => {
    const id = await access.run(principal, params.run);
    const found = await findArtifact(db, id, { ...query, path: params['*'] });
    if (found === undefined) throw noFile(params['*']);
    return await sendBlob(request, reply, store, { ...found, filename: found.path });
  });

  type RunCall = Pick<Call<typeof routes.getRunManifest>, 'principal' | 'params' | 'request' | 'reply'>;

  async function sendRunBlob(
    call: RunCall,
    which: RunBlobName,
    mediaType: string,
    ending: string,
  ): Promise<FastifyReply> {
    const { label, blobs } = await findBlobsOfRun(db, await access.run(call.principal, call.params.run));
    const blob: RunBlob | null = blobs[which];
    if (blob === null) throw notYet(which);
    const filename = `${label.replace('/', '-')}${ending}`;
    return await sendBlob(call.request, call.reply, store, { ...blob, mediaType, filename });
  }

  serve(app, routes.getRunManifest, (call) => sendRunBlob(call, 'manifest', 'application/json', '.manifest.json'));
  serve(app, routes.getRunStatement, (call) => sendRunBlob(call, 'statement', 'application/json', '.statement.json'));
  serve(app, routes.getRunLock, (call) => sendRunBlob(call, 'lock', 'text/plain', '.requirements.lock.txt'));
  serve(app, routes.getRunSource, (call) => sendRunBlob(call, 'source', 'application/x-tar', '.tar'));
  serve(app, routes.getRunPatch, (call) => sendRunBlob(call, 'patch', 'text/x-diff', '.patch'));
}

export function noFile(path: string): DomainError {
  return new DomainError(
    'not-found',
    `There is no file "${path.slice(0, 200)}". List the files to see their exact paths.`,
  );
}

type RunBlobName = keyof typeof origins;

const origins = {
  manifest: 'it is written by the step persist, at the end of a run',
  statement: 'it is signed by the step persist, at the end of a run',
  lock: 'it is made by the step build-environment',
  source: 'it is stored by the step resolve-commit',
  patch: 'the run was submitted without uncommitted changes',
};

function notYet(which: RunBlobName): DomainError {
  return new DomainError('not-found', `The run has no ${which}: ${origins[which]}.`);
}
