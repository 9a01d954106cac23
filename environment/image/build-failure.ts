// Why a Dockerfile did not become an image: its own doing, this machine's, or the world's.
import { DomainError } from '#core/errors.ts';
import {
  buildTimeoutMs,
  diskFull,
  engineFailure,
  engineMessage,
  engineStatus,
  type ImageSettings,
  isFullDisk,
  memoryExhausted,
} from './engine.ts';

export function buildFailure(
  { limits }: ImageSettings,
  dockerfile: string,
  lines: readonly string[],
  error: unknown,
): Error {
  const said = engineMessage(error);
  const doing = `${dockerfile} was built`;
  if (isFullDisk(said) || isFullDisk(lines.join('\n'))) return diskFull(doing);
  const isRefused = engineStatus(error) === 400;
  const isOfItsOwn =
    /returned a non-zero code|executor failed|COPY failed|ADD failed|dockerfile parse error|unknown instruction|requires BuildKit|manifest|not found|access denied|does not exist|no such file|failed to parse|invalid/i;
  if (/returned a non-zero code: 137\b/.test(said)) {
    return memoryExhausted(`A command of ${dockerfile}, which was killed,`, limits.memoryBytes);
  }
  if (!isRefused && !isOfItsOwn.test(said)) return engineFailure(error, doing);
  const tail = lines.slice(-4).join(' | ').slice(-600);
  const shown = tail === '' ? '' : ` Its last lines: ${tail}`;
  return new DomainError('environment-unresolvable', `${dockerfile} does not build: ${said}.${shown}`, [
    { path: 'dockerfile', message: said, file: dockerfile },
  ]);
}

export function tooLong(dockerfile: string): DomainError {
  return new DomainError(
    'resources-exhausted',
    `${dockerfile} did not build within ${buildTimeoutMs / 60_000} minutes. Build the image once, push it, and name it with \`image:\`.`,
  );
}
