import { DomainError } from '#core/errors.ts';

const launchName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** Names of launches are also names of directories and containers. */
export function isLaunchName(name: string): boolean {
  return launchName.test(name);
}

export function requireLaunchName(name: string): void {
  if (isLaunchName(name)) return;
  throw new DomainError(
    'invalid-request',
    `'${name}' cannot name a launch: letters, digits, '.', '_' and '-' can, 200 at most.`,
  );
}
