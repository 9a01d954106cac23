// Writes the histories that test/workflows/replay.test.ts replays, from real runs on a real stack. To be run by hand when
// the story of a run changes on purpose: node test/support/save-histories.ts, with names for some of them only
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client as TemporalClient, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { freePort } from '#embedded/ports.ts';
import { isFinished, type RunStatus } from '#core/run.ts';
import { mirrorId } from '#schedules/mirror.ts';
import type { Client } from '#sdk/client.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { type AssayProcess, assayProcess, servicesOf } from './assay-process.ts';
import { sendProject } from './kill-loop.ts';
import { until } from './stack.ts';

const folder = fileURLToPath(new URL('../histories', import.meta.url));

const threeStages = `
stages:
  prepare: { command: 'echo prepared > prepared.txt', outputs: [prepared.txt] }
  train: { command: 'echo weights > model/w && echo "{\\"acc\\": 1}" > metrics.json', needs: [prepare], outputs: [model/] }
  evaluate: { command: 'cat model/w', needs: [train] }
`;

const sleeper = `stages: { train: { command: 'echo begun; sleep 600', retries: 0 } }\n`;

interface Scenario {
  name: string;
  projectFile: string;
  /** How the run is to end; `succeeded` when absent. */
  ends?: RunStatus;
  /** How often it is submitted, each time after the end of the one before; the last is saved. Once when absent. */
  submits?: number;
  /** What happens while it runs. */
  act?: (assay: AssayProcess, client: Client, runId: string) => Promise<void>;
}

const scenarios: Scenario[] = [
  { name: 'succeeded', projectFile: threeStages },
  { name: 'reused', projectFile: threeStages, submits: 2 },
  {
    name: 'promoted',
    projectFile: `${threeStages}model: { name: best, path: model/ }\ngate: ["acc >= 0.5"]\npromote: when-passed\n`,
  },
  { name: 'gate-failed', projectFile: `${threeStages}model: { name: worse, path: model/ }\ngate: ["acc >= 2"]\n` },
  { name: 'retried', projectFile: `stages: { train: { command: 'test "$ASSAY_ATTEMPT" = 2', retries: 1 } }\n` },
  { name: 'failed', projectFile: `stages: { train: { command: 'exit 3' } }\n`, ends: 'failed' },
  { name: 'cancelled', projectFile: sleeper, ends: 'cancelled', act: cancelRunning },
  { name: 'attached', projectFile: `stages: { train: { command: 'sleep 5' } }\n`, act: killMain },
  { name: 'attention-aborted', projectFile: sleeper, ends: 'failed', act: loseAndAbort },
];

async function stageRuns(assay: AssayProcess, runId: string): Promise<number> {
  const launch = () => assay.find('stage').find((found) => found.launch?.startsWith(runId) === true);
  await until(() => launch() !== undefined);
  return launch()?.pid ?? 0;
}

async function cancelRunning(assay: AssayProcess, client: Client, runId: string): Promise<void> {
  await stageRuns(assay, runId);
  await client.runs.cancel(runId);
}

async function killMain(assay: AssayProcess, _client: Client, runId: string): Promise<void> {
  await stageRuns(assay, runId);
  await assay.end('SIGKILL');
  await assay.start();
}

/** Four losses spend the budget of the infrastructure. */
async function loseAndAbort(assay: AssayProcess, client: Client, runId: string): Promise<void> {
  const seen = new Set<string>();
  while (seen.size < 4) {
    const fresh = () => assay.find('supervisor').find(({ launch }) => launch?.startsWith(runId) && !seen.has(launch));
    await until(() => fresh() !== undefined);
    const found = fresh();
    if (found?.launch == null) continue;
    await stageRuns(assay, runId);
    seen.add(found.launch);
    process.kill(found.pid, 'SIGKILL');
  }
  await until(async () => (await client.runs.get(runId)).status === 'needs-attention');
  await client.runs.resolve(runId, 'abort');
}

/** Stacks and identities name the machine that made the history; nothing of it is replayed. */
function withoutMachine(history: object): object {
  return JSON.parse(JSON.stringify(history), (key, value: unknown) => {
    if (key === 'stackTrace') return '';
    if (key === 'identity' || key === 'workerInstanceKey') return 'worker';
    // A sticky queue is named after the process and its host.
    return typeof value === 'string' ? value.replaceAll(/\d+@[\w.-]+/g, 'worker') : value;
  }) as object;
}

/** Saves how the workflow went, once it has ended. */
async function save(name: string, workflowId: (client: TemporalClient) => Promise<string>): Promise<void> {
  const connection = await Connection.connect({ address: (await servicesOf(home)).temporal });
  const client = new TemporalClient({ connection, namespace: 'assay' });
  const handle = client.workflow.getHandle(await workflowId(client));
  await until(async () => (await handle.describe()).status.name !== 'RUNNING');
  const history = JSON.parse(historyToJSON(await handle.fetchHistory())) as { events: unknown[] };
  await connection.close();
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(withoutMachine(history))}\n`);
  process.stdout.write(`${name}: ${history.events.length} events\n`);
}

/** Lets Temporal fire a schedule now and answers the id of its workflow. */
async function fire(client: TemporalClient, scheduleId: string): Promise<string> {
  const handle = client.schedule.getHandle(mirrorId(scheduleId));
  await handle.trigger();
  const newest = async () => (await handle.describe()).info.recentActions.at(-1)?.action.workflow.workflowId;
  await until(async () => (await newest()) !== undefined);
  return (await newest()) ?? '';
}

const asked = process.argv.slice(2);
const isAsked = (name: string) => asked.length === 0 || asked.includes(name);
const home = await mkdtemp(join(tmpdir(), 'assay-histories-'));
await chmod(home, 0o711);
await writeFile(join(home, 'node-id'), 'node-1\n');
await mkdir(folder, { recursive: true });
const assay = assayProcess(home, await freePort());
await assay.start();
try {
  for (const { name, projectFile, ends, submits, act } of scenarios.filter((scenario) => isAsked(scenario.name))) {
    const commit = await sendProject(assay, name, { 'assay.yaml': projectFile });
    const client = assay.client();
    let last = '';
    for (let left = submits ?? 1; left > 0; left -= 1) {
      const { id } = await client.runs.submit(name, { commit });
      await act?.(assay, client, id);
      await until(async () => isFinished((await client.runs.get(id)).status), 120_000);
      const { status, failure } = await client.runs.get(id);
      if (status !== (ends ?? 'succeeded')) throw new Error(`${name} ended as ${status}: ${failure?.sentence}`);
      last = id;
    }
    await save(name, async () => runWorkflowId(last, 1));
  }
  if (isAsked('ticked')) {
    const commit = await sendProject(assay, 'ticked', { 'assay.yaml': threeStages });
    const schedule = await assay.client().schedules.create('ticked', { name: 'nightly', cron: '@daily', ref: commit });
    await save('ticked', (client) => fire(client, schedule.id));
  }
} finally {
  await assay.end('SIGTERM');
  await rm(home, { recursive: true, force: true });
}
