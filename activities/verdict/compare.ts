// How a reproduction compares with its original, layer by layer. Reads both runs and changes nothing.
import type { VerdictReport } from '#core/verdict.ts';
import { decideVerdict, readableLine, readableLines, sentenceLengthMax } from '#core/verdict.ts';
import { listArtifacts } from '#db/artifacts.ts';
import type { VerdictDeps } from './deps.ts';
import { compareFiles, type FilesDifference } from './files.ts';
import {
  compareCode,
  compareData,
  compareHardware,
  compareImages,
  compareLocks,
  compareOutcomes,
  compareParameters,
  compareSeeds,
} from './inputs.ts';
import { compareModels, comparePredictions, compareRunGates, compareRunMetrics, modelName } from './results.ts';
import { endingOf, loadSide, type Side } from './side.ts';

/**
 * Both runs have a configuration, so both got past resolve-commit. The reproduction may still be open: its steps then
 * say how it went. Blobs that are gone or damaged are named in the notes; trouble with the store is thrown.
 */
export async function compareRuns(
  deps: VerdictDeps,
  originalRunId: string,
  reproductionRunId: string,
): Promise<VerdictReport> {
  const [a, b] = [await loadSide(deps, originalRunId), await loadSide(deps, reproductionRunId)];
  const { config } = a.run;
  if (config === null) throw new TypeError('a run that is reproduced has its configuration');
  const found = [
    compareOutcomes(a, b),
    compareCode(a, b),
    compareParameters(a, b),
    compareSeeds(a, b),
    await compareData(deps, a, b),
    await compareLocks(deps, a, b),
    compareImages(a, b),
    compareHardware(a, b),
    compareRunMetrics(config, a, b),
    compareRunGates(a, b),
    await comparePredictions(deps, config, a, b),
    await compareModels(deps, config, a, b),
  ];
  const layers = found.map(({ report }) => report);
  const decided = decideVerdict(layers, { missingInput: missingInput(b), modelName: modelName(config) });
  const notes = readableLines([...new Set(found.flatMap((one) => one.notes))]);
  return { ...decided, sentence: readableLine(decided.sentence, sentenceLengthMax), layers, notes };
}

/** A failure to get the data or the environment is no result of the code. */
function missingInput(reproduction: Side): string | null {
  const { status, failure } = endingOf(reproduction);
  if (status !== 'failed' || failure === null) return null;
  return failure.class === 'data' || failure.class === 'environment' ? failure.sentence : null;
}

/** All output files of one step, by the run that has it. */
export interface StepOutputs {
  runId: string;
  step: string;
}

/** Whether a step made the same files in two runs: `sameBytes`, or `equal` but for what the notes name. */
export async function compareOutputs(deps: VerdictDeps, a: StepOutputs, b: StepOutputs): Promise<FilesDifference> {
  const [before, after] = [await filesOf(deps, a), await filesOf(deps, b)];
  const found = await compareFiles(deps, before, after);
  return { ...found, differences: readableLines(found.differences), notes: readableLines(found.notes) };
}

async function filesOf({ db }: VerdictDeps, { runId, step }: StepOutputs) {
  return await listArtifacts(db, runId, { step, all: false });
}
