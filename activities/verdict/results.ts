// The layers of a verdict that a run makes: metrics, gate, predictions, model.
import { DomainError } from '#core/errors.ts';
import type { GateReport } from '#core/gate.ts';
import { compareGates } from '#core/gate-difference.ts';
import { isGateRule, parseGateRule } from '#core/gate-rule.ts';
import { declaredPathMatches } from '#core/glob.ts';
import { compareMetrics } from '#core/metric-difference.ts';
import type { ProjectConfig } from '#core/project.ts';
import { compareRows, rowsFormatOf } from '#lake/compare-rows.ts';
import { compileGlob } from '../stage/workspace.ts';
import type { VerdictDeps } from './deps.ts';
import { type ComparedFile, compareFiles } from './files.ts';
import { layerReport, type Noted } from './inputs.ts';
import { rowLines } from './row-lines.ts';
import type { Side } from './side.ts';

const examplesMax = 10;

/** Tolerances and what is ignored come from the original's configuration, which was fixed before the reproduction ran. */
export function compareRunMetrics(config: ProjectConfig, a: Side, b: Side): Noted {
  const rules = config.gate.map(parseGateRule).filter(isGateRule);
  const gated = rules.flatMap(({ key, threshold }) => (threshold.kind === 'metric' ? [key, threshold.key] : [key]));
  const { result, sentence, differences, notes } = compareMetrics({
    original: a.metrics,
    reproduction: b.metrics,
    declare: config.metrics.declare,
    gated: new Set(gated),
    isIgnored: ignoredBy(config),
  });
  return { report: layerReport('metrics', result, sentence, differences), notes };
}

export function compareRunGates(a: Side, b: Side): Noted {
  const report = ({ run }: Side) => run.gateReport as GateReport | null;
  const { result, sentence, differences, notes } = compareGates(report(a), report(b));
  return { report: layerReport('gate', result, sentence, differences), notes };
}

export async function comparePredictions(deps: VerdictDeps, config: ProjectConfig, a: Side, b: Side): Promise<Noted> {
  const { predictions: path, key } = config.verify;
  const say = (
    result: 'equal' | 'different' | 'absent',
    sentence: string,
    lines: string[] = [],
    notes: string[] = [],
  ) => ({
    report: layerReport('predictions', result, sentence, lines),
    notes,
  });
  if (path === null) return say('absent', 'The project names no predictions.');
  const [from, to] = [lastOf(config, a, path), lastOf(config, b, path)];
  if (from === undefined && to === undefined) {
    return say(
      'absent',
      `Neither run wrote ${path}.`,
      [],
      [`\`verify.predictions\` names ${path}, which no stage wrote.`],
    );
  }
  if (from === undefined || to === undefined)
    return say('different', `Only the ${from === undefined ? 'reproduction' : 'original'} wrote ${path}.`);
  if (from.sha256 === to.sha256) return say('equal', `The predictions in ${path} are equal to the last byte.`);
  const format = rowsFormatOf(path);
  if (format === null) {
    const note = `${path} is no Parquet, CSV or JSON lines by its name, so it was compared as plain bytes.`;
    return say('different', `The predictions in ${path} have other bytes.`, [], [note]);
  }
  try {
    const stored = ({ sha256 }: ComparedFile) => ({ sha256, format });
    const lake = { store: deps.store, engine: deps.lake.engine };
    const difference = await compareRows(lake, stored(from), stored(to), { key, examplesMax });
    const lines = rowLines(difference, key);
    const repeated = difference.keyRepeats
      ? [`Some values of ${key} in ${path} occur more than once; their rows were matched in their order.`]
      : [];
    if (lines.length === 0) {
      const how = key === null ? '' : `, matched by ${key}`;
      const note = `${path} has other bytes; its ${difference.rowsBefore} rows are equal${how}.`;
      return say('equal', `The ${difference.rowsBefore} predictions in ${path} are equal.`, [], [note, ...repeated]);
    }
    return say('different', `The predictions in ${path} differ: ${lines[0]}.`, lines, repeated);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const note = `The rows of ${path} could not be compared: ${error.message}`;
    return say('different', `The predictions in ${path} have other bytes.`, [], [note]);
  }
}

/** Of several stages that wrote the path, the last counts. */
function lastOf(config: ProjectConfig, side: Side, path: string): ComparedFile | undefined {
  const order = config.stages.map(({ name }) => name);
  const found = side.artifacts.filter((artifact) => artifact.path === path);
  return found.toSorted((x, y) => order.indexOf(x.step) - order.indexOf(y.step)).at(-1);
}

/** What counts as the model, as the sentences call it. */
export function modelName(config: ProjectConfig): string {
  const [model, ...others] = config.models.map(({ name }) => name);
  if (model !== undefined)
    return others.length === 0 ? `the model ${model}` : `the models ${[model, ...others].join(', ')}`;
  return `the stage ${config.stages.at(-1)?.name ?? ''}`;
}

/**
 * The files below the models' paths; with no model declared all files of the last stage, of which those that hold
 * metrics are judged as metrics.
 */
export async function compareModels(deps: VerdictDeps, config: ProjectConfig, a: Side, b: Side): Promise<Noted> {
  const name = modelName(config);
  const isIgnored = ignoredBy(config);
  const hasModel = config.models.length > 0;
  const inModel = config.models.map(({ path }) => declaredPathMatches(path, compileGlob));
  const last = config.stages.at(-1)?.name;
  const metricsFiles = new Set([...a.metrics, ...b.metrics].map(({ stage, source }) => `${stage}:${source}`));
  const chosen = (side: Side) =>
    side.artifacts.filter(({ step, path }) =>
      hasModel ? inModel.some((matches) => matches(path)) : step === last && path !== config.verify.predictions,
    );
  const repeated = [a, b].some((side) => new Set(chosen(side).map(({ path }) => path)).size < chosen(side).length);
  const files = (side: Side): ComparedFile[] =>
    chosen(side).map(({ step, path, sha256, sizeBytes }) => ({
      path: repeated ? `${step}/${path}` : path,
      sha256,
      sizeBytes,
    }));
  const found = await compareFiles(deps, files(a), files(b));
  const isJudged = (path: string) => !isIgnored(path) && (hasModel || !metricsFiles.has(`${last}:${path}`));
  const judged = found.differing.filter(isJudged);
  const listed = found.differing.filter((path) => !isJudged(path));
  const notes = [...found.notes, ...listed.map((path) => `${path} differs and is listed, not judged.`)];
  const none = hasModel ? [] : [`No model is declared, so the files of ${name} count as the model.`];
  const say = (result: 'equal' | 'different' | 'listed' | 'absent', sentence: string) => ({
    report: layerReport('model', result, sentence, found.differences),
    notes: [...notes, ...none],
  });
  const all = found.files === 1 ? `The one file of ${name}` : `All ${found.files} files of ${name}`;
  if (found.files === 0) return say('absent', `Neither run wrote a file of ${name}.`);
  if (judged.length > 0) {
    const shown = judged.slice(0, 3).join(', ') + (judged.length > 3 ? ` and ${judged.length - 3} more` : '');
    return say('different', `${judged.length} of ${found.files} files of ${name} differ: ${shown}.`);
  }
  if (listed.length === found.files) return say('listed', `No file of ${name} is judged.`);
  if (listed.length > 0) return say('equal', `All judged files of ${name} are equal.`);
  const verb = found.files === 1 ? 'has' : 'have';
  const bytes = found.sameBytes ? `${verb} the same bytes` : `${found.files === 1 ? 'is' : 'are'} equal in content`;
  return say('equal', `${all} ${bytes}.`);
}

function ignoredBy(config: ProjectConfig): (name: string) => boolean {
  const ignored = config.verify.ignore.map((glob) => declaredPathMatches(glob, compileGlob));
  return (name) => ignored.some((matches) => matches(name));
}
