// Keys that are part of the contract but that this server does not act on yet. Each goes from here when it is acted on.
import type { ProjectFile, StageFile } from './project-schema.ts';

/** One sentence per key, for lint and submit. */
export function notYetSentences(file: ProjectFile): string[] {
  return Object.entries(file.stages ?? {}).flatMap(([name, stage]) => stageSentences(name, stage));
}

function stageSentences(name: string, stage: StageFile): string[] {
  const nodes = stage.resources?.nodes ?? 1;
  return [...said(nodes > 1 ? nodes : undefined, `stages.${name}.resources.nodes`, 'a stage runs on one node')];
}

function said(value: unknown, key: string, consequence: string): string[] {
  return value === undefined ? [] : [`${key} is accepted but has no effect on this server yet: ${consequence}.`];
}
