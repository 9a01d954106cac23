import type { Stage } from '#core/project.ts';

/** The stages whose outputs a stage finds in its working directory: all it needs, directly or through others. */
export function ancestors(stages: readonly Stage[], name: string): Set<string> {
  const found = new Set<string>();
  const visit = (stage: string) => {
    for (const need of stages.find((other) => other.name === stage)?.needs ?? []) {
      if (found.has(need)) continue;
      found.add(need);
      visit(need);
    }
  };
  visit(name);
  return found;
}
