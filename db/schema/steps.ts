import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  real,
  text,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import type { RestoredFrom } from '#core/checkpoint.ts';
import type { Hardware } from '#core/hardware.ts';
import type { Failure, StepStatus } from '#core/run.ts';
import { blobs } from './blobs.ts';
import { bytea, instant } from './columns.ts';
import { runs } from './runs.ts';

/** A named part of a run, one row per execution. */
export const steps = pgTable(
  'steps',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    execution: integer('execution').notNull(),
    name: text('name').notNull(),
    kind: text('kind').$type<'platform' | 'stage'>().notNull(),
    position: integer('position').notNull(),
    needs: jsonb('needs').$type<string[]>().notNull().default([]),
    status: text('status').$type<StepStatus>().notNull().default('pending'),
    /** Why it waits, was skipped or failed; plain words. */
    reason: text('reason'),
    /** What a waiting stage waits for: an equal step that runs, then a quota, then a slot, which counts against quotas. */
    waitsFor: text('waits_for').$type<'equal' | 'quota' | 'slot'>(),
    waitingSince: instant('waiting_since'),
    /** Where a stage is to run, and how many accelerators it asks for. */
    pool: text('pool'),
    devices: integer('devices'),
    stepKey: text('step_key'),
    /** What the key was made of, for explaining it. */
    ingredients: jsonb('ingredients').$type<Record<string, unknown>>(),
    /** Whether an equal step of another run may take the result; null until the step is claimed. */
    reusable: boolean('reusable'),
    /** The run whose attempt `fence` made the result, when it was not this run in this execution. */
    reusedFrom: uuid('reused_from').references(() => runs.id),
    /** What the step found: hit or miss, digests, counts. */
    facts: jsonb('facts').$type<Record<string, unknown>>(),
    failure: jsonb('failure').$type<Failure>(),
    /** The fence whose outputs count; null until an attempt succeeded. */
    fence: integer('fence'),
    startedAt: instant('started_at'),
    finishedAt: instant('finished_at'),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.execution, t.name] }),
    index('steps_by_key').on(t.stepKey),
    index('steps_reusable').on(t.stepKey, t.finishedAt).where(sql`status = 'succeeded' and reusable`),
    index('steps_waiting').on(t.pool, t.waitingSince).where(sql`kind = 'stage' and status = 'waiting'`),
    index('steps_open').on(t.runId).where(sql`kind = 'stage' and status in ('waiting', 'running')`),
  ],
);

/** Holding the row is the right to run a step; released with the result or with the closing of the attempt. */
export const stepClaims = pgTable('step_claims', {
  stepKey: text('step_key').primaryKey(),
  runId: uuid('run_id').notNull(),
  execution: integer('execution').notNull(),
  step: text('step').notNull(),
  claimedAt: instant('claimed_at').notNull().defaultNow(),
});

export type AttemptStatus = 'starting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'lost';

/** One launch of a stage. Its fence only grows per run and step, over all executions. */
export const attempts = pgTable(
  'attempts',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    step: text('step').notNull(),
    fence: integer('fence').notNull(),
    execution: integer('execution').notNull(),
    nodeId: text('node_id').notNull(),
    pool: text('pool').notNull(),
    status: text('status').$type<AttemptStatus>().notNull().default('starting'),
    /** The runner's name of the launch: run, step and fence. */
    launch: text('launch').notNull().unique(),
    devices: jsonb('devices').$type<string[]>().notNull().default([]),
    leaseExpiresAt: instant('lease_expires_at').notNull(),
    /** sha256 of the stage token; valid exactly while this attempt is current. */
    tokenHash: text('token_hash'),
    createdAt: instant('created_at').notNull().defaultNow(),
    startedAt: instant('started_at'),
    finishedAt: instant('finished_at'),
    exitCode: integer('exit_code'),
    signal: text('signal'),
    failure: jsonb('failure').$type<Failure>(),
    peakMemoryBytes: bigint('peak_memory_bytes', { mode: 'number' }),
    cpuSeconds: real('cpu_seconds'),
    /** The machine with the stage's own devices, and what the command ran on. */
    hardware: jsonb('hardware').$type<Partial<Hardware>>(),
    /** The checkpoints it started with; null for an empty directory. */
    restoredFrom: jsonb('restored_from').$type<RestoredFrom>(),
    facts: jsonb('facts').$type<Record<string, unknown>>(),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.step, t.fence] }),
    index('attempts_by_node').on(t.nodeId, t.status),
    index('attempts_newest_of_node').on(t.nodeId, t.createdAt),
    index('attempts_open').on(t.nodeId).where(sql`status in ('starting', 'running')`),
    index('attempts_by_token').on(t.tokenHash),
  ],
);

/** A stretch of a step's log. Older bytes lie in blobs; the newest stretch has its bytes here until it is full. */
export const logChunks = pgTable(
  'log_chunks',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    step: text('step').notNull(),
    fence: integer('fence').notNull(),
    offsetBytes: bigint('offset_bytes', { mode: 'number' }).notNull(),
    sizeBytes: integer('size_bytes').notNull(),
    sha256: text('sha256').references(() => blobs.sha256),
    inline: bytea('inline'),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.step, t.fence, t.offsetBytes] })],
);

/** A named blob of a run. */
export const artifacts = pgTable(
  'artifacts',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    step: text('step').notNull(),
    fence: integer('fence').notNull(),
    path: text('path').notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    mediaType: text('media_type').notNull(),
    executable: boolean('executable').notNull().default(false),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [unique('artifacts_path').on(t.runId, t.step, t.fence, t.path), index('artifacts_by_blob').on(t.sha256)],
);

/** The summary of one metric of one step; never a row per point. */
export const metrics = pgTable(
  'metrics',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    step: text('step').notNull(),
    fence: integer('fence').notNull(),
    key: text('key').notNull(),
    /** Text, because NaN and infinities are values a script can report. */
    last: text('last').notNull(),
    min: text('min').notNull(),
    max: text('max').notNull(),
    count: integer('count').notNull(),
    lastStep: bigint('last_step', { mode: 'number' }),
    source: text('source').notNull(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.step, t.fence, t.key] }), index('metrics_by_key').on(t.key)],
);
