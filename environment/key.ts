import { createHash } from 'node:crypto';
import { type Interpreter, type Platform, platformName } from '#environment/python/interpreters.ts';
import type { EnvironmentContext } from './context.ts';
import { freeze } from './freeze.ts';
import { indexIdentity } from '#environment/process/child-environment.ts';
import type { RequirementSource } from '#environment/sources/find-source.ts';
import { canonicalText } from '#environment/sources/pyproject.ts';

/** What an environment is: equal values, equal packages, Python and libraries below. */
export interface EnvironmentIdentity {
  lockSha256: string;
  /** The exact version, such as `3.11.7`. */
  python: string;
  /** Digest of the base image; null where stages run as processes. */
  base: string | null;
  /** For example `linux-x86_64-glibc_2.36`. */
  platform: string;
}

export function environmentIdentity(
  lockSha256: string,
  interpreter: Interpreter,
  base: string | null = null,
): EnvironmentIdentity {
  return { lockSha256, python: interpreter.version, base, platform: platformName(interpreter.platform) };
}

/** Lower-case hexadecimal sha256 over the canonical JSON of the identity. */
export function environmentKey(identity: EnvironmentIdentity): string {
  const { lockSha256, python, base, platform } = identity;
  return sha256({ lockSha256, python, base, platform });
}

/**
 * A lock is resolved once per this key: same question, same index, same answer kept. Without requirements the
 * question is what the interpreter itself has installed, which changes without a commit.
 */
export async function lockKey(
  context: Pick<EnvironmentContext, 'index' | 'env'>,
  source: Pick<RequirementSource, 'kind' | 'digest'>,
  interpreter: Interpreter,
  platform: Platform = interpreter.platform,
): Promise<string> {
  const asked = source.kind === 'none' ? (await freeze(interpreter)).sha256 : source.digest;
  const index = indexIdentity(context.index, context.env);
  return sha256({ lock: 1, source: asked, python: interpreter.version, platform: platformName(platform), index });
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalText(value)).digest('hex');
}
