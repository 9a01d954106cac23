import { DomainError } from '#core/errors.ts';

/** A remote that was taken apart and built again, so that only what is understood here reaches git. */
export interface Remote {
  protocol: 'https' | 'ssh';
  /** Lower case, IPv4 spellings normalised, IPv6 without brackets, no trailing dot. */
  host: string;
  port: number;
  /** The ssh login; https remotes never carry one. */
  user: string | null;
  path: string;
  /** What git is given. */
  url: string;
}

const urlLengthMax = 2_000;
const sshUser = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;
// Nothing that a shell on the ssh side could read as more than a path.
const sshPath = /^[A-Za-z0-9._~/+@%-]+$/;
const scpLike = /^(?:([^@/:]+)@)?(\[[^\]/]+\]|[^@/:[\]]+):(.+)$/;

function refuse(text: string, why: string): never {
  // A refused URL may carry a password, so what is shown is cut before it.
  const shown = JSON.stringify(text.replace(/\/\/[^/]*@/, '//…@').slice(0, 120));
  throw new DomainError(
    'invalid-remote',
    `The remote ${shown} ${why}; give https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH.`,
  );
}

// https is a special scheme: its parser folds decimal, octal, hexadecimal and short IPv4 spellings and punycode.
function normaliseHost(text: string, host: string): string {
  if (host.startsWith('-')) refuse(text, "has a host that starts with '-'");
  const parsed = URL.parse(`https://${host}/`);
  if (parsed === null || parsed.port !== '' || parsed.username !== '') refuse(text, 'has no valid host');
  const name = parsed.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (name === '' || name.startsWith('-') || name.startsWith('.')) refuse(text, 'has no valid host');
  return name;
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function checkSsh(text: string, user: string | null, path: string): void {
  if (user !== null && !sshUser.test(user)) refuse(text, 'has an invalid login name');
  if (!sshPath.test(path)) refuse(text, 'has a path with characters outside A-Z a-z 0-9 . _ ~ / + @ % -');
  if (path.startsWith('-') || path.includes('/-')) refuse(text, "has a path part that starts with '-'");
  if (path.split('/').includes('..')) refuse(text, "has a path with '..'");
}

function parseHttps(text: string, url: URL): Remote {
  if (url.username !== '' || url.password !== '') {
    refuse(text, 'carries credentials, which would end up in logs; store them as a secret for the host');
  }
  if (url.search !== '' || url.hash !== '') refuse(text, "has a '?' or '#'");
  if (url.pathname.length < 2) refuse(text, 'has no path');
  const host = normaliseHost(text, url.hostname);
  const port = url.port === '' ? 443 : Number(url.port);
  const authority = bracketed(host) + (port === 443 ? '' : `:${port}`);
  return { protocol: 'https', host, port, user: null, path: url.pathname, url: `https://${authority}${url.pathname}` };
}

// Parsed as if it were https, an explicit 443 is dropped as that scheme's default.
function sshPort(text: string, url: URL): number {
  if (url.port !== '') return Number(url.port);
  return /^[^/]*\/\/[^/]*:443(?:\/|$)/.test(text) ? 443 : 22;
}

function parseSsh(text: string, url: URL): Remote {
  if (url.password !== '') refuse(text, 'carries a password; store a key as a secret for the host');
  if (url.search !== '' || url.hash !== '') refuse(text, "has a '?' or '#'");
  if (url.pathname.length < 2) refuse(text, 'has no path');
  const user = url.username === '' ? null : url.username;
  checkSsh(text, user, url.pathname);
  const host = normaliseHost(text, url.hostname);
  const port = sshPort(text, url);
  const authority = (user === null ? '' : `${user}@`) + bracketed(host) + (port === 22 ? '' : `:${port}`);
  return { protocol: 'ssh', host, port, user, path: url.pathname, url: `ssh://${authority}${url.pathname}` };
}

function parseScpLike(text: string): Remote {
  const match = scpLike.exec(text);
  if (match === null) refuse(text, 'is neither an https nor an ssh address');
  const [, login, hostText = '', path = ''] = match;
  const user = login ?? null;
  checkSsh(text, user, path);
  const host = normaliseHost(text, hostText);
  const url = `${user === null ? '' : `${user}@`}${bracketed(host)}:${path}`;
  return { protocol: 'ssh', host, port: 22, user, path, url };
}

/** Throws invalid-remote for every transport, spelling or decoration other than plain https and ssh. */
export function parseRemote(text: string): Remote {
  if (text === '' || text.length > urlLengthMax) refuse(text, `must have 1 to ${urlLengthMax} characters`);
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f\\]/.test(text)) refuse(text, 'contains a space, a backslash or a control character');
  if (text.startsWith('-')) refuse(text, "starts with '-'");
  if (/^[A-Za-z0-9+.-]*::/.test(text)) refuse(text, 'names a git transport helper, which can run commands');
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return parseScpLike(text);
  const url = URL.parse(scheme === 'ssh' ? `https${text.slice('ssh'.length)}` : text);
  if (url === null) refuse(text, 'cannot be parsed as a URL');
  if (scheme === 'https') return parseHttps(text, url);
  if (scheme === 'ssh') return parseSsh(text, url);
  refuse(text, `uses ${scheme}, and only https and ssh are allowed`);
}
