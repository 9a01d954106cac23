import { didYouMean } from '#core/nearest.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import { CliError } from '#cli/errors.ts';

/** @throws CliError that names the stages there are. */
export function findStage(config: ProjectConfig, name: string): Stage {
  const stage = config.stages.find((candidate) => candidate.name === name);
  if (stage !== undefined) return stage;
  const names = config.stages.map((candidate) => candidate.name);
  throw new CliError(
    `${config.project} has no stage "${name}".${didYouMean(name, names)} It has: ${names.join(', ')}.`,
  );
}
