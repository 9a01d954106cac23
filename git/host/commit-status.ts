// Commit statuses in the words of each git host's API.
import { DomainError } from '#core/errors.ts';
import type { CommitState, CommitStatus } from '#core/commit-status.ts';
import type { HostKind } from '#core/push.ts';
import type { Remote } from '#git/remote.ts';

export interface StatusReport extends CommitStatus {
  commit: string;
  branch: string | null;
  /** Tells this status from those of others; the newest of one context counts. */
  context: string;
  targetUrl: string;
}

export interface HostRequest {
  host: string;
  port: number;
  path: string;
  headers: Record<string, string>;
  body: string;
}

const knownHosts: Readonly<Record<string, HostKind>> = {
  'github.com': 'github',
  'gitlab.com': 'gitlab',
  'codeberg.org': 'gitea',
  'gitea.com': 'gitea',
};

export function knownHostKind(host: string): HostKind | null {
  return knownHosts[host] ?? null;
}

/** No part that is empty, or only dots, or that a URL would spell in another way. */
const repositoryPart = /^(?!\.+$)[A-Za-z0-9._~+-]+$/;

/** `owner/name`, or with groups between for GitLab. @throws invalid-remote */
function repositoryOf(remote: Remote): string[] {
  const parts = remote.path
    .replace(/^\/+|\/+$/g, '')
    .replace(/\.git$/, '')
    .split('/');
  if (parts.length >= 2 && parts.every((part) => repositoryPart.test(part))) return parts;
  throw new DomainError('invalid-remote', `The remote ${remote.url} does not end in OWNER/REPOSITORY.`);
}

/** An https remote's port is also the API's; ssh has one of its own. */
function authorityOf(remote: Remote): { host: string; port: number } {
  return { host: remote.host, port: remote.protocol === 'https' ? remote.port : 443 };
}

const gitlabStates: Record<CommitState, string> = {
  pending: 'pending',
  success: 'success',
  failure: 'failed',
  error: 'failed',
};

function jsonHeaders(authorization: Record<string, string>): Record<string, string> {
  return { ...authorization, 'content-type': 'application/json', accept: 'application/json', 'user-agent': 'assay' };
}

/** What is sent to tell the host of this remote. @throws invalid-remote for a path that names no repository there. */
export function statusRequest(kind: HostKind, remote: Remote, token: string, report: StatusReport): HostRequest {
  const parts = repositoryOf(remote);
  const repository = parts.map(encodeURIComponent).join('/');
  const { commit, branch, context, description, targetUrl } = report;
  const alike = JSON.stringify({ state: report.state, target_url: targetUrl, description, context });
  switch (kind) {
    case 'github': {
      const isCloud = remote.host === 'github.com';
      return {
        ...(isCloud ? { host: 'api.github.com', port: 443 } : authorityOf(remote)),
        path: `${isCloud ? '' : '/api/v3'}/repos/${repository}/statuses/${commit}`,
        headers: jsonHeaders({ authorization: `Bearer ${token}` }),
        body: alike,
      };
    }
    case 'gitea':
      return {
        ...authorityOf(remote),
        path: `/api/v1/repos/${repository}/statuses/${commit}`,
        headers: jsonHeaders({ authorization: `token ${token}` }),
        body: alike,
      };
    case 'gitlab':
      return {
        ...authorityOf(remote),
        path: `/api/v4/projects/${encodeURIComponent(parts.join('/'))}/statuses/${commit}`,
        headers: jsonHeaders({ 'private-token': token }),
        body: JSON.stringify({
          state: gitlabStates[report.state],
          name: context,
          description,
          target_url: targetUrl,
          ...(branch === null ? {} : { ref: branch }),
        }),
      };
  }
}
