// A reproduction resolves nothing: it gets the lock, the Python and the base of its original, and so the same key.
import type { ProjectConfig } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { getEnvironment } from '#db/environments.ts';
import { findStepWithFacts } from '#db/reproductions.ts';
import { loadRun } from '#db/run-facts.ts';
import type { BuiltEnvironment, Environments, EnvironmentSource } from '#activities/environments.ts';
import { orNotReproducible } from './missing-facts.ts';

export async function useEnvironmentOf(
  deps: { db: Database; environments: Environments },
  originalId: string,
  source: EnvironmentSource & { config: ProjectConfig },
  onLine: (line: string) => void,
): Promise<BuiltEnvironment> {
  const { run: original } = await loadRun(deps.db, originalId);
  const key = original.environmentKey ?? '';
  const row = await getEnvironment(deps.db, key);
  if (row === undefined) throw new TypeError(`There is no environment "${key}".`);
  const step = await findStepWithFacts(deps.db, originalId, 'build-environment');
  const found = step?.facts as BuiltEnvironment['facts'] | undefined;
  const used = await orNotReproducible('environment', () => deps.environments.use(key, source, onLine));
  const { lockSha256, python, base, platform } = row;
  return {
    environmentKey: key,
    identity: { lockSha256, python, base, platform },
    files: found?.files ?? [],
    facts: {
      kind: found?.kind ?? 'lock',
      file: found?.file ?? null,
      files: found?.files ?? [],
      requirements: found?.requirements ?? null,
      python,
      platform,
      base: found?.base ?? null,
      image: 'image' in used ? used.image : null,
      lock: 'pinned',
      lockSha256,
      resolvedMs: 0,
      environment: used.hit ? 'hit' : 'built',
      builtMs: used.builtMs,
      from: used.packages?.from ?? null,
      wheels: used.packages?.wheels ?? null,
      notes: found?.notes ?? [],
    },
  };
}
