// How a command ends badly: one line for people, an exit code by class, the problem itself with --json.
import { DomainError } from '#core/errors.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { installation } from './installation.ts';
import { formatJson, oneLine } from './output.ts';
import type { Terminal } from './terminal.ts';

export const exitCodes = {
  ok: 0,
  failed: 1,
  cancelled: 2,
  unreachable: 3,
  /** What a run was made from is gone, like a server that is not there. */
  notReproducible: 3,
  notLoggedIn: 4,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A refusal of the CLI itself. The message says what was found, what was expected and what to do. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  /** Single findings, one line each. */
  readonly details: readonly string[];

  constructor(message: string, options: { exitCode?: ExitCode; details?: readonly string[] } = {}) {
    super(message);
    this.name = 'CliError';
    this.exitCode = options.exitCode ?? exitCodes.failed;
    this.details = options.details ?? [];
  }
}

const program = 'assay';

interface Account {
  exitCode: ExitCode;
  title: string;
  detail: string;
  findings: readonly string[];
  /** What `--json` prints. */
  problem: unknown;
}

/** Tells the person what went wrong and answers with the exit code. */
export function endedBy(error: unknown, terminal: Terminal, asJson: boolean): ExitCode {
  const { exitCode, title, detail, findings, problem } = accountOf(error);
  if (asJson) terminal.write(formatJson(problem));
  terminal.note(`${terminal.paintNote('red', title)}: ${detail}`);
  for (const finding of findings) terminal.note(`  ${finding}`);
  return exitCode;
}

function accountOf(error: unknown): Account {
  if (error instanceof ApiError) return accountOfProblem(error);
  if (error instanceof UnreachableError) return accountOfSilence(error);
  if (error instanceof DomainError) return accountOfRefusal(error);
  if (error instanceof CliError) {
    const { exitCode, message, details } = error;
    const problem = { detail: message, errors: details };
    return { exitCode, title: program, detail: message, findings: details, problem };
  }
  return accountOfSurprise(error);
}

function accountOfProblem({ problem }: ApiError): Account {
  const title = oneLine(problem.title);
  const said = { title, ...withFindings(problem.detail, problem.errors), problem };
  if (problem.status === 401) {
    const hint = 'Log in with "assay login URL", or set ASSAY_TOKEN.';
    return { ...said, exitCode: exitCodes.notLoggedIn, findings: [...said.findings, hint] };
  }
  if (problem.code === 'not-reproducible') return { ...said, exitCode: exitCodes.notReproducible };
  return { ...said, exitCode: problem.status >= 500 ? exitCodes.unreachable : exitCodes.failed };
}

function accountOfRefusal({ code, message, details }: DomainError): Account {
  const problem = { code, detail: message, errors: details };
  return { exitCode: exitCodes.failed, title: program, ...withFindings(message, details), problem };
}

function accountOfSilence(error: UnreachableError): Account {
  const certificate = certificateTrouble(error);
  const detail = certificate === null ? error.message : `The certificate of ${error.url} is refused: ${certificate}.`;
  const findings = [certificate === null ? howToReach() : howToTrust];
  const problem = { code: 'unreachable', detail, errors: [] };
  return { exitCode: exitCodes.unreachable, title: program, detail, findings, problem };
}

const howToTrust =
  'If an authority of your organisation signs its certificates, say so: export NODE_EXTRA_CA_CERTS=/path/to/authority.pem.';

function howToReach(): string {
  if (installation.isClientOnly) return 'Ask whoever runs it, or name another server: assay login URL.';
  return 'Start it with "npm start" in Assay\'s folder, or name another server: assay login URL.';
}

/** Codes of OpenSSL's verification and of Node's. */
const certificateCode = /CERT|SIGNATURE|ERR_TLS/;

/** Lies somewhere below the error of `fetch`; what newer releases of Node advise behind a semicolon is left out. */
function certificateTrouble(error: Error): string | null {
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && certificateCode.test(String(cause.code))) return cause.message.split(';')[0] ?? '';
  }
  return null;
}

/** Trouble with files and programs explains itself; anything else is a mistake in this program and needs its stack. */
function accountOfSurprise(error: unknown): Account {
  const known = error instanceof Error && 'code' in error && typeof error.code === 'string';
  const detail = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  return { exitCode: exitCodes.failed, title: program, detail, findings: [], problem: { detail, errors: [] } };
}

interface Finding {
  path: string;
  message: string;
  file?: string;
  line?: number;
}

/** A detail that only repeats its findings gives way to them. */
function withFindings(detail: string, findings: readonly Finding[]): Pick<Account, 'detail' | 'findings'> {
  const repeats = findings.filter(({ message }) => detail.includes(message));
  if (repeats.length < 2 || repeats.length < findings.length) {
    return { detail: oneLine(detail), findings: findings.filter((one) => !repeats.includes(one)).map(formatFinding) };
  }
  return { detail: `found ${findings.length} problems`, findings: findings.map(formatFinding) };
}

function formatFinding({ file, line, path, message }: Finding): string {
  const place = file === undefined ? '' : `${file}${line === undefined ? '' : `:${line}`} `;
  const key = path === '' || message.startsWith(`${path}:`) ? '' : `${path}: `;
  return oneLine(`${place}${key}${message}`);
}
