// Which stage needs which, and in which order they can run.

export type Needs = ReadonlyMap<string, readonly string[]>;

/** A stage without `needs` needs the one written before it; `needs: []` needs none. So a list of stages is a chain. */
export function needsOf(stages: Readonly<Record<string, { needs?: readonly string[] | undefined }>>): Needs {
  const names = Object.keys(stages);
  return new Map(names.map((name, index) => [name, stages[name]?.needs ?? names.slice(Math.max(0, index - 1), index)]));
}

/** Needs first, otherwise as written. Stages in a circle are left out; needs that are no stages are ignored. */
export function orderStages(needs: Needs): string[] {
  const ordered: string[] = [];
  let waiting = [...needs.keys()];
  while (waiting.length > 0) {
    const ready = waiting.find((name) => openNeeds(needs, name, waiting).length === 0);
    if (ready === undefined) return ordered;
    ordered.push(ready);
    waiting = waiting.filter((name) => name !== ready);
  }
  return ordered;
}

/** One circle, beginning and ending with the same stage, or null. */
export function cycleIn(needs: Needs): string[] | null {
  const ordered = new Set(orderStages(needs));
  const stuck = [...needs.keys()].filter((name) => !ordered.has(name));
  const path: string[] = [];
  // Every stuck stage needs another stuck one, so that walking along must come round.
  for (let name = stuck[0]; name !== undefined; name = openNeeds(needs, name, stuck)[0]) {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    path.push(name);
  }
  return null;
}

function openNeeds(needs: Needs, name: string, waiting: readonly string[]): string[] {
  return (needs.get(name) ?? []).filter((need) => waiting.includes(need));
}
