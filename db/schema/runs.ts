import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  boolean,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uuid,
  bigint,
} from 'drizzle-orm/pg-core';
import type { Plan } from '#core/plan.ts';
import type { ProjectConfig } from '#core/project.ts';
import { defaultPriority, type Priority } from '#core/priority.ts';
import type { Failure, GateResult, RunStatus } from '#core/run.ts';
import type { Trigger } from '#core/trigger.ts';
import { blobs } from './blobs.ts';
import { exactInstant, instant } from './columns.ts';
import { projects } from './projects.ts';

export const runs = pgTable(
  'runs',
  {
    /** UUIDv7, so that ids sort by submit time. */
    id: uuid('id').primaryKey(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    number: integer('number').notNull(),
    experiment: text('experiment').notNull().default('default'),
    name: text('name'),
    note: text('note'),
    tags: text('tags').array().notNull().default(sql`'{}'::text[]`),
    owner: text('owner').notNull(),
    status: text('status').$type<RunStatus>().notNull().default('queued'),
    /** Plain words, set while status is waiting or needs-attention. */
    waitingReason: text('waiting_reason'),
    submittedAt: instant('submitted_at').notNull().defaultNow(),
    startedAt: instant('started_at'),
    finishedAt: instant('finished_at'),
    updatedAt: instant('updated_at').notNull().defaultNow(),

    // What was asked for; never changes.
    ref: text('ref').notNull(),
    asOf: exactInstant('as_of').notNull(),
    overrides: jsonb('overrides').$type<Record<string, unknown>>().notNull(),
    seedAsked: bigint('seed_asked', { mode: 'number' }),
    /** A command given at submit (`assay run -- …`) that replaces the project's stages. */
    command: jsonb('command').$type<string[]>(),
    /** The file name → text of an assay.yaml given at submit is not supported; the commit's own file counts. */
    dirty: boolean('dirty').notNull().default(false),
    patchSha256: text('patch_sha256').references(() => blobs.sha256),
    reuse: boolean('reuse').notNull().default(true),
    likeRunId: uuid('like_run_id'),
    /** The run that this one takes up again with another commit or other parameters. */
    resumedFrom: uuid('resumed_from').references((): AnyPgColumn => runs.id),
    /** The run that this one does again from the same inputs, to be compared with it; neither gives nor takes results. */
    reproduces: uuid('reproduces').references((): AnyPgColumn => runs.id),
    /** The one stage that is done again; what it needs is answered by the results of the run it reproduces. */
    reproducesOnly: text('reproduces_only'),
    /** Null when a person submitted it. */
    trigger: jsonb('trigger').$type<Trigger>(),
    priority: integer('priority').$type<Priority>().notNull().default(defaultPriority),

    // What resolve-commit found; write-once.
    branch: text('branch'),
    commit: text('commit'),
    tree: text('tree'),
    commitMessage: text('commit_message'),
    commitAuthor: text('commit_author'),
    sourceSha256: text('source_sha256').references(() => blobs.sha256),
    config: jsonb('config').$type<ProjectConfig>(),
    params: jsonb('params').$type<Record<string, unknown>>(),
    seed: bigint('seed', { mode: 'number' }),
    plan: jsonb('plan').$type<Plan>(),

    environmentKey: text('environment_key'),
    failure: jsonb('failure').$type<Failure>(),
    gateResult: text('gate_result').$type<GateResult>(),
    gateReport: jsonb('gate_report').$type<unknown>(),
    manifestSha256: text('manifest_sha256').references(() => blobs.sha256),
    /** The signed envelope about that manifest. */
    statementSha256: text('statement_sha256').references(() => blobs.sha256),
    /** Set when the gate failed: nothing is deleted before this instant. */
    deleteAfter: instant('delete_after'),

    cancelRequestedAt: instant('cancel_requested_at'),
    cancelRequestedBy: text('cancel_requested_by'),
  },
  (t) => [
    unique('runs_project_number').on(t.projectId, t.number),
    index('runs_by_submit').on(t.submittedAt, t.id),
    index('runs_by_project').on(t.projectId, t.submittedAt, t.id),
    index('runs_by_status').on(t.status, t.submittedAt, t.id),
    index('runs_tags').using('gin', t.tags),
    index('runs_by_original').on(t.reproduces).where(sql`reproduces is not null`),
  ],
);

export type DispatchState = 'queued' | 'starting' | 'started' | 'closed';

/** One Temporal workflow execution of a run; n counts from 1. The dispatcher's only table. */
export const executions = pgTable(
  'executions',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    n: integer('n').notNull(),
    /** Of the run, kept here so that the dispatcher's indexes hold them; filled in by a trigger where they are not given. */
    projectId: uuid('project_id').references(() => projects.id),
    owner: text('owner'),
    priority: integer('priority').$type<Priority>(),
    dispatch: text('dispatch').$type<DispatchState>().notNull().default('queued'),
    status: text('status').$type<RunStatus>().notNull().default('queued'),
    createdAt: instant('created_at').notNull().defaultNow(),
    dispatchedAt: instant('dispatched_at'),
    startedAt: instant('started_at'),
    finishedAt: instant('finished_at'),
    /** Stages that are to run whatever results are kept, because a person asked for it. */
    rerun: text('rerun').array().notNull().default(sql`'{}'::text[]`),
    /** Temporal's own run id. */
    executionId: text('execution_id'),
    failure: jsonb('failure').$type<Failure>(),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.n] }),
    index('executions_queued').on(t.priority, t.createdAt).where(sql`dispatch = 'queued'`),
    index('executions_queued_by_group')
      .on(t.projectId, t.owner, t.priority, t.createdAt)
      .where(sql`dispatch = 'queued'`),
    index('executions_under_way')
      .on(t.projectId, t.owner, t.dispatchedAt)
      .where(sql`dispatch in ('starting', 'started')`),
    index('executions_starting').on(t.dispatchedAt).where(sql`dispatch = 'starting'`),
    index('executions_open').on(t.createdAt).where(sql`dispatch = 'started'`),
  ],
);

/** A repeated submit with the same key and body is the same run for as long as the row lives. */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    /** The token's id: keys of different callers never meet. */
    tokenId: uuid('token_id').notNull(),
    key: text('key').notNull(),
    route: text('route').notNull(),
    bodySha256: text('body_sha256').notNull(),
    /** What the first request created; a route knows how to load it. */
    resourceId: text('resource_id').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.tokenId, t.key] })],
);
