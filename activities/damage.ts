// What was stored and is gone or damaged, told by its place in a run: the file, its blob, and what helps.
import { DomainError, type ErrorCode } from '#core/errors.ts';

/** Names in the failure of `read` what it was that could not be read. `code` replaces the store's own. */
export async function namingDamage<T>(
  what: string,
  advice: string,
  read: () => Promise<T>,
  code?: ErrorCode,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DomainError) || !['blob-missing', 'blob-corrupt'].includes(error.code)) throw error;
    throw new DomainError(code ?? error.code, `${what} can not be used. ${error.message} ${advice}`, error.details);
  }
}
