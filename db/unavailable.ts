// Telling a database that does not answer from a statement that went wrong.

const systemCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
]);
/** Classes 08 (connection), 57P (shutdown, crash), 53 (too many connections, disk or memory full), 25006 (read only). */
const sqlStates = /^(?:08|57P|53|25006)/;
const driverMessages =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** Walks the causes, because the query builder wraps what the driver threw. */
export function isDatabaseUnavailable(error: unknown): boolean {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    const { code, syscall } = at as { code?: unknown; syscall?: unknown };
    if (driverMessages.test(at.message)) return true;
    if (typeof code !== 'string') continue;
    if (sqlStates.test(code)) return true;
    if (systemCodes.has(code) && (syscall === 'connect' || syscall === 'read' || syscall === 'write')) return true;
  }
  return false;
}
