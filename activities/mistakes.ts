// Errors that no repetition can help: ours, or data that the database will never take.

const mistakes = [TypeError, RangeError, ReferenceError, SyntaxError];

/** Postgres' classes of errors: data it refuses, a constraint broken, SQL it does not understand, a limit of its own. */
const refusedClasses = ['22', '23', '42', '54'];
const sqlState = /^[0-9A-Z]{5}$/;

export function isMistake(error: unknown): boolean {
  return mistakes.some((kind) => error instanceof kind) || isRefusedByDatabase(error);
}

function isRefusedByDatabase(error: unknown): boolean {
  // The query builder wraps what the driver threw.
  for (let found = error; found instanceof Error; found = found.cause) {
    const { code } = found as { code?: unknown };
    if (typeof code === 'string' && sqlState.test(code)) return refusedClasses.includes(code.slice(0, 2));
  }
  return false;
}
