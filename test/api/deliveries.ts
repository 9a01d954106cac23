// Deliveries as the git hosts send them, signed as they sign.
import { createHmac, randomUUID } from 'node:crypto';
import type { DeliveryAnswer } from '#contract/deliveries.ts';
import type { IssuedHook } from '#contract/hooks.ts';
import type { Answer, TestApi } from './server.ts';

export const zeros = '0'.repeat(40);
export type Source = 'github' | 'gitlab' | 'gitlab-token' | 'gitea' | 'forgejo' | 'generic';

export interface Wanted {
  id?: string;
  event?: string;
  timestamp?: number;
  /** Sent in place of what was signed. */
  sent?: Buffer;
  headers?: Record<string, string>;
}

export const sha = (n: number) => n.toString(16).padStart(40, 'a');

export function pushOf(commit: string, ref = 'refs/heads/main', before: string = zeros) {
  return { ref, before, after: commit, commits: [{ id: commit }], repository: { full_name: 'ada/digits' } };
}

/** The headers under which a host sends this body with this secret. */
export function signedHeaders(
  source: Source,
  secret: string,
  body: Buffer,
  wanted: Wanted = {},
): Record<string, string> {
  const id = wanted.id ?? randomUUID();
  const hex = createHmac('sha256', secret).update(body).digest('hex');
  const at = String(wanted.timestamp ?? Math.floor(Date.now() / 1000));
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const standard = {
    'webhook-id': id,
    'webhook-timestamp': at,
    'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${at}.`).update(body).digest('base64')}`,
  };
  const event = wanted.event ?? 'push';
  const headers: Record<Source, Record<string, string>> = {
    github: { 'x-github-event': event, 'x-github-delivery': id, 'x-hub-signature-256': `sha256=${hex}` },
    gitea: { 'x-gitea-event': event, 'x-gitea-delivery': id, 'x-gitea-signature': hex },
    forgejo: {
      'x-forgejo-event': event,
      'x-forgejo-delivery': id,
      'x-forgejo-signature': hex,
      'x-gitea-event': event,
      'x-gitea-signature': hex,
    },
    gitlab: { 'x-gitlab-event': wanted.event ?? 'Push Hook', 'idempotency-key': id, ...standard },
    'gitlab-token': { 'x-gitlab-event': wanted.event ?? 'Push Hook', 'idempotency-key': id, 'x-gitlab-token': secret },
    generic: standard,
  };
  return { 'content-type': 'application/json', ...headers[source], ...wanted.headers };
}

const paths: Record<Source, string> = {
  github: 'github',
  gitlab: 'gitlab',
  'gitlab-token': 'gitlab',
  gitea: 'gitea',
  forgejo: 'gitea',
  generic: 'generic',
};

export function pathOf(source: Source, project: string): string {
  return `/hooks/${paths[source]}/${project}`;
}

export async function deliver(
  api: TestApi,
  source: Source,
  project: string,
  secret: string,
  payload: unknown,
  wanted: Wanted = {},
): Promise<Answer<DeliveryAnswer>> {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload));
  const headers = signedHeaders(source, secret, body, wanted);
  return await api.call('POST', pathOf(source, project), { token: null, bytes: wanted.sent ?? body, headers });
}

/** A project with a webhook. */
export async function createHooked(api: TestApi): Promise<{ id: string; name: string; secret: string }> {
  const { id, name } = await api.project();
  const made = await api.call<IssuedHook>('POST', `/projects/${name}/hook`);
  return { id, name, secret: made.body.secret };
}
