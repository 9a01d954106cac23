// The server judges: rules against what the run reported, and against the champion of this moment.
import { type Champion, evaluateGate, gateNamesChampion, gateSentence } from '#core/gate.ts';
import type { ModelDeclaration } from '#core/project.ts';
import type { GateResult } from '#core/run.ts';
import type { Database, Transaction } from '#db/connect.ts';
import { listMetrics } from '#db/metrics.ts';
import { type CreatedVersion, createVersions, gateReportOf } from '#db/models.ts';
import { findChampion, findChampionOf } from '#db/promotions.ts';
import { type LoadedRun, loadRun, setGate } from '#db/run-facts.ts';
import { closeStep, getStep } from '#db/steps.ts';
import { asStep, type ExecutionInput } from './step.ts';

/** How long the artifacts of a run whose gate failed are kept. */
const graceDays = 30;
const dayMs = 86_400_000;

export interface Judged {
  result: GateResult;
  /** One line of markdown for the Temporal UI. */
  line: string;
}

/**
 * A failed gate is a result. The version is made in the transaction that records the result. Judged once: a repeated
 * call answers what is recorded, because the champion may have moved since.
 */
export async function gate(
  { db, publicUrl }: { db: Database; publicUrl: string },
  input: ExecutionInput,
): Promise<Judged> {
  const id = { ...input, step: 'gate' };
  const recorded = await getStep(db, id);
  if (recorded?.status === 'succeeded') return recorded.facts as unknown as Judged;
  return await asStep(db, id, async () => {
    const { run } = await loadRun(db, input.runId);
    if (run.config === null) throw new TypeError('a resolved run has its configuration');
    const { gate: rules, metrics } = run.config;
    return await db.transaction(async (tx) => {
      const champion = gateNamesChampion(rules) ? await championFor(tx, run) : null;
      const report = evaluateGate({
        rules,
        metrics: await listMetrics(tx, run.id),
        declare: metrics.declare,
        champion,
      });
      const isReproduction = run.reproduces !== null;
      const isFlagged = report.result === 'failed' && !isReproduction;
      const deleteAfter = isFlagged ? new Date(Date.now() + graceDays * dayMs) : null;
      await setGate(tx, run.id, { result: report.result, report, deleteAfter });
      const makesNone = report.result === 'failed' || isReproduction;
      const versions = makesNone ? [] : await createVersions(tx, run.id);
      const missed = makesNone ? [] : unmade(run.config?.models ?? [], versions);
      const made = [...versions.map(madeLine), ...missed].join('; ');
      const sentence = gateSentence(report);
      const manifest = `[manifest](${publicUrl}/api/v1/runs/${run.id}/manifest)`;
      const line = `gate ${sentence}${made === '' ? '' : `; ${made}`} (${manifest}).`;
      const facts = { result: report.result, line, sentence, versions, made, deleteAfter };
      await closeStep(tx, id, { status: 'succeeded', facts });
      return { result: { result: report.result, line }, facts };
    });
  });
}

/** A reproduction meets the champion that its original met, so that the gate is asked the same question. */
async function championFor(tx: Transaction, run: LoadedRun['run']): Promise<Champion | null> {
  if (run.reproduces === null) return await findChampion(tx, run);
  const original = await loadRun(tx, run.reproduces);
  const met = gateReportOf(original.run.gateReport)?.champion ?? null;
  return met === null ? null : await findChampionOf(tx, met);
}

function madeLine({ model, version }: CreatedVersion): string {
  return `version ${version} of model ${model}`;
}

/** A model that was declared and not written gets no version, and that is said. */
function unmade(models: readonly ModelDeclaration[], versions: readonly CreatedVersion[]): string[] {
  const missing = models.filter(({ name }) => versions.every(({ model }) => model !== name));
  return missing.map(({ name, path }) => `no version of model ${name}, because the run wrote nothing at ${path}`);
}
