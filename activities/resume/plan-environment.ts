// Whether a resumed run keeps its environment: it does unless a file that the lock is made from changed.
import type { PlannedStep } from '#core/planned-step.ts';
import type { ProjectConfig } from '#core/project.ts';
import type { Mirrors } from '#git/mirror.ts';
import { type Before, whyUnfinished } from './before.ts';
import type { Resumed } from './resumed.ts';

export interface EnvironmentOutlook {
  step: PlannedStep;
  /** The key it has or, when it will run, the one it had; null when it never had one. */
  key: string | null;
  /** Files that enter the lock. */
  files: readonly string[];
}

const name = 'build-environment';

/** Files at the root that may say what packages a project needs, whether or not the earlier commit had them. */
const mayEnter =
  /^(requirements([-._][\w.-]+)?\.(txt|in)|constraints([-._][\w.-]+)?\.txt|uv\.lock|poetry\.lock|pylock(\.[\w-]+)?\.toml|pyproject\.toml|setup\.(py|cfg)|\.python-version|environment\.ya?ml|Pipfile(\.lock)?)$/;

export async function planEnvironment(
  { mirrors }: { mirrors: Pick<Mirrors, 'listTree'> },
  before: Before,
  resumed: Pick<Resumed, 'commit' | 'config'>,
): Promise<EnvironmentOutlook> {
  const step = { name, kind: 'platform' as const, reusedFrom: null, because: [], unless: [] };
  const kept = before.result(name);
  const key = (kept?.facts?.environmentKey as string | undefined) ?? null;
  const files = (kept?.facts?.files as string[] | undefined) ?? [];
  if (kept === undefined || key === null) {
    return { step: { ...step, action: 'run', because: [whyUnfinished(before.newest(name))] }, key: null, files };
  }
  const because = await whatChanged(mirrors, before, resumed, new Set(files));
  if (because.length > 0) return { step: { ...step, action: 'run', because }, key, files };
  return { step: { ...step, action: 'reuse', reusedFrom: before.label }, key, files };
}

async function whatChanged(
  mirrors: Pick<Mirrors, 'listTree'>,
  { project, run, config }: Before,
  resumed: Pick<Resumed, 'commit' | 'config'>,
  files: ReadonlySet<string>,
): Promise<string[]> {
  if (config === null || run.commit === null || run.commit === resumed.commit) return [];
  const enters = (path: string) =>
    files.has(path) || mayEnter.test(path) || path.endsWith('.whl') || path === resumed.config.dockerfile;
  const digests = async (commit: string) =>
    new Map(
      (await mirrors.listTree(project.id, commit)).flatMap(({ path, oid }) =>
        enters(path) ? [[path, oid] as const] : [],
      ),
    );
  const [old, now] = await Promise.all([digests(run.commit), digests(resumed.commit)]);
  const paths = [...new Set([...old.keys(), ...now.keys()])].toSorted();
  return [
    ...paths.flatMap((path) => {
      if (old.get(path) === now.get(path)) return [];
      return [old.has(path) ? (now.has(path) ? `${path} changed` : `${path} was removed`) : `${path} was added`];
    }),
    ...settings.filter((key) => config[key] !== resumed.config[key]).map((key) => `${key}: changed`),
  ];
}

const settings = ['requirements', 'python', 'image', 'dockerfile'] as const satisfies (keyof ProjectConfig)[];
