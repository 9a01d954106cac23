// How a command ends badly: one line for people, an exit code by class, the problem itself with --json.
import { DomainError } from '#core/errors.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { formatJson, oneLine } from './output.ts';
import type { Terminal } from './terminal.ts';

export const exitCodes = { ok: 0, failed: 1, cancelled: 2, unreachable: 3, notLoggedIn: 4, interrupted: 130 } as const;
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

interface Account {
  exitCode: ExitCode;
  title: string | null;
  detail: string;
  findings: readonly string[];
  /** What `--json` prints. */
  problem: unknown;
}

/** Tells the person what went wrong and answers with the exit code. */
export function endedBy(error: unknown, terminal: Terminal, asJson: boolean): ExitCode {
  const account = accountOf(error);
  if (asJson) terminal.write(formatJson(account.problem));
  const title = account.title === null ? 'assay' : account.title;
  terminal.note(`${terminal.paintNote('red', title)}: ${account.detail}`);
  for (const finding of account.findings) terminal.note(`  ${finding}`);
  return account.exitCode;
}

function accountOf(error: unknown): Account {
  if (error instanceof ApiError) return accountOfProblem(error);
  if (error instanceof UnreachableError) return accountOfSilence(error);
  if (error instanceof DomainError) {
    const { code, message, details } = error;
    const findings = details.map(formatFinding).filter((finding) => !message.includes(finding));
    const problem = { code, detail: message, errors: details };
    return { exitCode: exitCodes.failed, title: null, detail: message, findings, problem };
  }
  if (error instanceof CliError) {
    const { exitCode, message, details } = error;
    return { exitCode, title: null, detail: message, findings: details, problem: { detail: message, errors: details } };
  }
  return accountOfSurprise(error);
}

function accountOfProblem({ problem }: ApiError): Account {
  const findings = problem.errors.map(formatFinding);
  const detail = oneLine(problem.detail);
  if (problem.status !== 401) {
    const exitCode = problem.status >= 500 ? exitCodes.unreachable : exitCodes.failed;
    return { exitCode, title: oneLine(problem.title), detail, findings, problem };
  }
  const hint = 'Log in with "assay login URL", or set ASSAY_TOKEN.';
  return { exitCode: exitCodes.notLoggedIn, title: oneLine(problem.title), detail, findings: [hint], problem };
}

function accountOfSilence({ message }: UnreachableError): Account {
  const findings = ['Start it with "npm start" in Assay\'s folder, or name another server: assay login URL.'];
  const problem = { code: 'unreachable', detail: message, errors: [] };
  return { exitCode: exitCodes.unreachable, title: null, detail: message, findings, problem };
}

/** Trouble with files and programs explains itself; anything else is a mistake in this program and needs its stack. */
function accountOfSurprise(error: unknown): Account {
  const known = error instanceof Error && 'code' in error && typeof error.code === 'string';
  const detail = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  return { exitCode: exitCodes.failed, title: null, detail, findings: [], problem: { detail, errors: [] } };
}

function formatFinding(finding: { path: string; message: string; file?: string; line?: number }): string {
  const place =
    finding.file === undefined ? '' : `${finding.file}${finding.line === undefined ? '' : `:${finding.line}`} `;
  return oneLine(`${place}${finding.path === '' ? '' : `${finding.path}: `}${finding.message}`);
}
