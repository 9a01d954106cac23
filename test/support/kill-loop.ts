// Runs are submitted all the time while processes are killed; afterwards everything has to be as if nothing had happened.
// By hand: node test/support/kill-loop.ts --kills 60 --seed 1, with --team on the processes of a team's set-up,
// there with --s3 for blobs in an S3 server and --docker for stages in containers.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { Client as TemporalClient, Connection } from '@temporalio/client';
import pg from 'pg';
import { freePort } from '#embedded/ports.ts';
import type { Client } from '#sdk/client.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { assayProcess } from './assay-process.ts';
import { teamSystem } from './team-system.ts';

/** What is struck: the whole of Assay, as one process with its servers or as many. */
export interface System {
  client(): Client;
  /** Kinds of processes that may be killed. */
  kinds: readonly string[];
  /** Kinds that watch stages; their successors adopt the launches that they left. */
  watchers: readonly string[];
  start(): Promise<void>;
  /** Processes of this kind that live now; for stages and their supervisors with the launch. */
  find(kind: string): Array<{ pid: number; launch: string | null }>;
  /** The launches that a watcher of this kind leaves behind when it dies now, with the pids of their supervisors. */
  watchedBy(kind: string): Array<{ pid: number; launch: string }>;
  /** Ends the process; resolves when it is gone. False when it was gone already. */
  kill(kind: string, pid: number): Promise<boolean>;
  /** Starts what does not start again by itself. Answers what is wrong when it should not have ended. */
  revive(killed: string, random: () => number): Promise<string | null>;
  ready(): Promise<void>;
  services(): Promise<{ ownerUrl: string; temporal: string }>;
  isWhole(sha256: string): Promise<boolean>;
  /** Names of launches and of workspaces that are on disk. */
  launches(): string[];
  workspaces(): Promise<string[]>;
  /** Stops everything in order. */
  stop(): Promise<void>;
}

export interface KillLoopOptions {
  system: System;
  seed: number;
  kills: number;
  /** Between two kills, milliseconds; chosen evenly. */
  pauseMs: [number, number];
  /** Lines that the long stage prints, one each 50 ms. */
  lines: number;
  openRunsMax: number;
  kinds?: readonly string[];
  say?: (line: string) => void;
}

export interface KillReport {
  kills: Record<string, number>;
  accepted: number;
  succeeded: number;
  failed: number;
  attempts: number;
  lost: number;
  adopted: number;
  /** Longest time from submit to end. */
  slowestMs: number;
  quietMs: number;
  violations: string[];
}

/** Prints numbered lines for a while; the numbers show gaps and repetitions. */
const train = (lines: number) => `
import os, sys, time
print("pid", os.getpid(), "attempt", os.environ["ASSAY_ATTEMPT"], flush=True)
for n in range(${lines}):
    print("line", n, flush=True)
    time.sleep(0.05)
os.makedirs("model", exist_ok=True)
with open("model/weights.txt", "w") as file:
    file.write(os.environ["ASSAY_RUN_ID"] + "\\n")
`;

const projectFile = `
stages:
  prepare: { command: 'echo prepared > prepared.txt', outputs: [prepared.txt] }
  train: { command: python3 train.py, needs: [prepare], outputs: [model/] }
  report: { command: 'cat prepared.txt model/weights.txt > report.txt', needs: [prepare, train], outputs: [report.txt] }
model: { name: MODEL, path: model/ }
`;

interface Submitted {
  id: string;
  at: number;
}

/** What the loop did to a launch, so that its end can be judged. */
interface Witness {
  /** Launches that ran while the main process was killed, with the pid of their supervisor. */
  running: Map<string, number>;
  /** Launches whose stage or supervisor was killed. */
  struck: Set<string>;
}

export async function killLoop(options: KillLoopOptions): Promise<KillReport> {
  const { system } = options;
  const say = options.say ?? (() => undefined);
  const random = createRandom(options.seed);
  await system.start();
  const project = `chaos-${randomUUID().slice(0, 8)}`;
  const commit = await sendProject(system, project, {
    'train.py': train(options.lines),
    'assay.yaml': projectFile.replace('MODEL', project),
  });
  const submitted: Submitted[] = [];
  const witness: Witness = { running: new Map(), struck: new Set() };
  const kills: Record<string, number> = {};
  const violations: string[] = [];
  const stopping = new AbortController();
  const submitting = keepSubmitting(system, project, commit, options.openRunsMax, submitted, stopping.signal);
  const kinds = options.kinds ?? system.kinds;
  for (let delivered = 0, turn = 0; delivered < options.kills; turn += 1) {
    const kind = kinds[turn % kinds.length] as string;
    // What is not there at its turn, such as a stage between two runs, is waited for a little.
    await sleep(between(random, options.pauseMs));
    // Every other kill of a watcher waits for a stage that is to be adopted.
    const awaitsStage = system.watchers.includes(kind) && (kills[kind] ?? 0) % 2 === 0;
    const isThere = () => (awaitsStage ? system.watchedBy(kind).length > 0 : system.find(kind).length > 0);
    const end = Date.now() + (awaitsStage ? 30_000 : 10_000);
    while (!isThere() && Date.now() < end) await sleep(50);
    if (await strike(system, kind, random, witness)) {
      delivered += 1;
      kills[kind] = (kills[kind] ?? 0) + 1;
      say(`${delivered}/${options.kills} ${kind}; ${submitted.length} runs accepted`);
    }
    const wrong = await system.revive(kind, random);
    if (wrong !== null) violations.push(wrong);
  }
  await system.start();
  stopping.abort();
  await submitting;
  const quietFrom = Date.now();
  violations.push(...(await waitForEnds(system, submitted, 240_000)));
  const quietMs = Date.now() - quietFrom;
  const found = await judge(system, submitted, witness, options.lines);
  await system.stop();
  violations.push(...found.violations, ...(await leftovers(system, submitted)));
  return { ...found.numbers, kills, accepted: submitted.length, quietMs, violations };
}

/** Makes a project of one commit with these files and answers the commit. */
export async function sendProject(system: System, project: string, files: Record<string, string>): Promise<string> {
  const checkout = await mkdtemp(join(tmpdir(), 'assay-kill-'));
  const run = promisify(execFile);
  const git = async (...args: string[]) => (await run('git', ['-C', checkout, ...args])).stdout.trim();
  await git('init', '-q', '-b', 'main');
  for (const [path, text] of Object.entries(files)) await writeFile(join(checkout, path), text);
  await git('add', '-A');
  await git('-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', 'commit', '-q', '-m', 'try');
  const commit = await git('rev-parse', 'HEAD');
  await git('bundle', 'create', '-q', 'all.bundle', 'main');
  const client = system.client();
  await client.projects.create({ name: project });
  await client.code.sendBundle(project, commit, await readFile(join(checkout, 'all.bundle')));
  await rm(checkout, { recursive: true, force: true });
  return commit;
}

/**
 * A submit without an answer is repeated with its key until there is one, as every client should. Every two runs are equal
 * and ask for the same results at about the same time.
 */
async function keepSubmitting(
  system: System,
  project: string,
  commit: string,
  openMax: number,
  submitted: Submitted[],
  stop: AbortSignal,
): Promise<void> {
  let key: string | null = null;
  while (!stop.aborted || key !== null) {
    try {
      const open = await system.client().runs.list({ project, status: 'queued,running,waiting', limit: 100 });
      if (key !== null || open.items.length < openMax) {
        key ??= randomUUID();
        const seed = Math.floor(submitted.length / 2);
        const run = await system.client().runs.submit(project, { commit, seed }, { idempotencyKey: key });
        submitted.push({ id: run.id, at: Date.now() });
        key = null;
      }
    } catch (error) {
      if (!isOutage(error)) throw error;
    }
    await sleep(300);
  }
}

function isOutage(error: unknown): boolean {
  const { name, status } = error as { name?: string; status?: number };
  return name === 'UnreachableError' || (status ?? 0) >= 500;
}

async function strike(system: System, kind: string, random: () => number, witness: Witness): Promise<boolean> {
  const found = system.find(kind);
  const target = found[Math.floor(random() * found.length)];
  if (target === undefined) return false;
  if (system.watchers.includes(kind)) {
    for (const { pid, launch } of system.watchedBy(kind)) witness.running.set(launch, pid);
  }
  if (target.launch !== null) witness.struck.add(target.launch);
  return await system.kill(kind, target.pid);
}

async function waitForEnds(system: System, submitted: Submitted[], withinMs: number): Promise<string[]> {
  const open = new Set(submitted.map(({ id }) => id));
  const client = system.client();
  const end = Date.now() + withinMs;
  while (open.size > 0 && Date.now() < end) {
    for (const id of open) {
      const run = await client.runs.get(id).catch(() => null);
      if (run !== null && ['succeeded', 'failed', 'cancelled'].includes(run.status)) open.delete(id);
      else if (run?.status === 'needs-attention') await client.runs.resolve(id, 'retry').catch(() => undefined);
    }
    await sleep(500);
  }
  return [...open].map((id) => `run ${id} did not end within ${withinMs / 1000} s after the last kill`);
}

interface AttemptRow {
  step: string;
  fence: number;
  status: string;
  launch: string;
  class: string | null;
}

interface StepRow {
  name: string;
  status: string;
  fence: number | null;
  kind: string;
  reused_from: string | null;
}

async function judge(system: System, submitted: Submitted[], witness: Witness, lines: number) {
  const violations: string[] = [];
  const numbers = { succeeded: 0, failed: 0, attempts: 0, lost: 0, adopted: 0, slowestMs: 0 };
  const services = await system.services();
  const db = new pg.Client({ connectionString: services.ownerUrl });
  await db.connect();
  const connection = await Connection.connect({ address: services.temporal });
  const temporal = new TemporalClient({ connection, namespace: 'assay' });
  const ids = submitted.map(({ id }) => id);
  const rows = async <T extends object>(text: string, values: unknown[] = [ids]) =>
    (await db.query<T & pg.QueryResultRow>(text, values)).rows;
  try {
    if (new Set(ids).size !== ids.length) violations.push('two submits gave one run');
    const [count] = await rows<{ n: number }>(
      `select count(*)::int n from runs where project_id = (select project_id from runs where id = ($1::uuid[])[1])`,
    );
    if (count?.n !== ids.length) violations.push(`${ids.length} runs were accepted and ${count?.n} exist`);
    for (const { id, at } of submitted) {
      const say = (text: string) => violations.push(`${id}: ${text}`);
      const [run] = await rows<{ status: string; finished_at: Date | null; failure: { class: string } | null }>(
        'select status, finished_at, failure from runs where id = $1',
        [id],
      );
      const executions = await rows<{ status: string; dispatch: string }>(
        'select status, dispatch from executions where run_id = $1',
        [id],
      );
      if (executions.length !== 1) say(`${executions.length} executions`);
      if (executions[0]?.status !== run?.status || executions[0]?.dispatch !== 'closed')
        say(`the run is ${run?.status}, its execution ${executions[0]?.status}, ${executions[0]?.dispatch}`);
      numbers.slowestMs = Math.max(numbers.slowestMs, (run?.finished_at?.getTime() ?? Date.now()) - at);
      const { status: inTemporal } = await temporal.workflow.getHandle(runWorkflowId(id, 1)).describe();
      if (inTemporal.name !== 'COMPLETED') say(`the run is ${run?.status} and Temporal says ${inTemporal.name}`);
      const attempts = await rows<AttemptRow>(
        `select step, fence, status, launch, failure->>'class' as class from attempts where run_id = $1 order by fence`,
        [id],
      );
      const steps = await rows<StepRow>(
        'select name, status, fence, kind, reused_from from steps where run_id = $1 order by position',
        [id],
      );
      numbers.attempts += attempts.length;
      numbers.lost += attempts.filter(({ status }) => status !== 'succeeded').length;
      for (const attempt of attempts) {
        if (['starting', 'running'].includes(attempt.status)) say(`${attempt.launch} is still ${attempt.status}`);
        if (!witness.running.has(attempt.launch) || witness.struck.has(attempt.launch)) continue;
        if (attempt.status === 'succeeded') numbers.adopted += 1;
        else say(`${attempt.launch} ran when the main process was killed and was not adopted: ${attempt.status}`);
      }
      if (run?.status === 'succeeded') {
        numbers.succeeded += 1;
        for (const step of steps) {
          if (!['succeeded', 'reused', 'skipped'].includes(step.status))
            say(`${step.name} is ${step.status} in a succeeded run`);
          if (step.kind === 'platform') continue;
          const good = attempts.filter((attempt) => attempt.step === step.name && attempt.status === 'succeeded');
          const expected = step.status === 'reused' ? 0 : 1;
          if (good.length !== expected || (expected === 1 && good[0]?.fence !== step.fence))
            say(`${step.name} is ${step.status} and has ${good.length} successful attempts`);
        }
        const artifacts = await rows<{ step: string; fence: number; path: string; sha256: string }>(
          `select a.step, a.fence, a.path, a.sha256 from steps s
           join artifacts a on a.run_id = coalesce(s.reused_from, s.run_id) and a.step = s.name and a.fence = s.fence
           where s.run_id = $1 order by a.path`,
          [id],
        );
        const paths = artifacts.map(({ step, path }) => `${step}/${path}`).toSorted();
        const expected = ['prepare/prepared.txt', 'report/report.txt', 'train/model/weights.txt'];
        if (paths.join() !== expected.join()) say(`artifacts ${paths.join()}`);
        for (const { sha256 } of artifacts) if (!(await system.isWhole(sha256))) say(`blob ${sha256} is damaged`);
        const weights = await (await system.client().artifacts.open(id, 'model/weights.txt')).text();
        const maker = steps.find(({ name }) => name === 'train')?.reused_from ?? id;
        if (weights !== `${maker}\n`) say(`the model says ${weights}`);
        const log = await (await system.client().logs.open(id, { step: 'train' })).text();
        const wrong = logFault(log, lines);
        if (wrong !== null) say(wrong);
      } else {
        numbers.failed += 1;
        const struck = attempts.some(({ launch }) => witness.struck.has(launch));
        if (!(run?.status === 'failed' && struck && run.failure?.class === 'user'))
          say(`ended ${run?.status} (${JSON.stringify(run?.failure)}) although its stages were left alone`);
        const open = steps.filter(({ status }) => ['pending', 'waiting', 'running'].includes(status));
        if (open.length > 0) say(`steps ${open.map(({ name }) => name).join()} are open in a closed run`);
      }
    }
    const twice = await rows<{ step_key: string; n: number }>(
      `select step_key, count(*)::int n from steps where run_id = any($1) and kind = 'stage' and status = 'succeeded'
       group by 1 having count(*) > 1`,
    );
    for (const { step_key: key, n } of twice) violations.push(`the step ${key} ran ${n} times`);
    const claims = await rows<{ step_key: string }>('select step_key from step_claims', []);
    if (claims.length > 0) violations.push(`${claims.length} claims are left`);
    const versions = await rows<{ run_id: string; n: number }>(
      'select run_id, count(*)::int n from versions where run_id = any($1) group by 1 having count(*) <> 1',
    );
    if (versions.length > 0) violations.push(`${versions.length} runs have several versions of a model`);
  } finally {
    await connection.close();
    await db.end();
  }
  return { violations, numbers };
}

/** What a log says where its carrier was killed and another went on. */
const carrierNote = '\n[assay] The carrier of this log ended and another goes on: output may be missing here.\n';

function logFault(given: string, lines: number): string | null {
  const log = given.replaceAll(carrierNote, '');
  const [first = '', ...rest] = log.trimEnd().split('\n');
  if (!/^pid \d+ attempt \d+$/.test(first)) return `the log begins with ${JSON.stringify(first.slice(0, 80))}`;
  const at = rest.findIndex((line, n) => line !== `line ${n}`);
  if (at !== -1) return `the log has ${JSON.stringify(rest[at])} where line ${at} belongs`;
  return rest.length === lines ? null : `the log has ${rest.length} of ${lines} lines`;
}

/** After an orderly stop nothing of the runs is on the machine: no launch, no directory, no process. */
async function leftovers(system: System, submitted: Submitted[]): Promise<string[]> {
  const found = system.launches().map((name) => `launch ${name} is left`);
  found.push(...(await system.workspaces()).map((name) => `directory ${name} is left`));
  const ids = new Set(submitted.map(({ id }) => id));
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const launch = environment.split('\0').find((variable) => variable.startsWith('ASSAY_LAUNCH='));
    if (launch !== undefined && ids.has(launch.slice('ASSAY_LAUNCH='.length).split('.')[0] ?? ''))
      found.push(`process ${pid} of ${launch} is left`);
  }
  return found;
}

/** Mulberry32: small, seeded, good enough for choosing moments. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function between(random: () => number, [from, to]: [number, number]): number {
  return from + random() * (to - from);
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      home: { type: 'string' },
      only: { type: 'string' },
      lines: { type: 'string', default: '140' },
      'pause-max': { type: 'string', default: '5000' },
      team: { type: 'boolean', default: false },
      s3: { type: 'boolean', default: false },
      docker: { type: 'boolean', default: false },
    },
  });
  const home = values.home ?? (await mkdtemp(join(tmpdir(), 'assay-kill-home-')));
  await chmod(home, 0o711);
  const system = values.team
    ? teamSystem({ home, stageWorkers: 3, slots: 2, s3: values.s3, docker: values.docker })
    : assayProcess(home, await freePort(), { ASSAY_SLOTS: '3' });
  const report = await killLoop({
    system,
    seed: Number(values.seed),
    kills: Number(values.kills),
    pauseMs: [Math.min(1_000, Number(values['pause-max']) / 5), Number(values['pause-max'])],
    lines: Number(values.lines),
    openRunsMax: 5,
    ...(values.only === undefined ? {} : { kinds: values.only.split(',') }),
    say: (line) => void process.stdout.write(`${line}\n`),
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (values.home === undefined && report.violations.length === 0) await rm(home, { recursive: true, force: true });
  process.exitCode = report.violations.length === 0 ? 0 : 1;
}
