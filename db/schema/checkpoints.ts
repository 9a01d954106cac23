import { bigint, boolean, foreignKey, index, integer, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { blobs } from './blobs.ts';
import { instant } from './columns.ts';
import { runs } from './runs.ts';

/** A consistent snapshot of the closed files of a stage's checkpoint directory. The newest two per key are kept. */
export const checkpointSets = pgTable(
  'checkpoint_sets',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    step: text('step').notNull(),
    /** Only grows per run and step. */
    number: integer('number').notNull(),
    /** A set is never restored into a step with another key. */
    stepKey: text('step_key').notNull(),
    /** The attempt that wrote the files. */
    fence: integer('fence').notNull(),
    /** sha256 of the list of paths, contents and modes. */
    digest: text('digest').notNull(),
    files: integer('files').notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.step, t.number] })],
);

export const checkpointFiles = pgTable(
  'checkpoint_files',
  {
    runId: uuid('run_id').notNull(),
    step: text('step').notNull(),
    number: integer('number').notNull(),
    path: text('path').notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    executable: boolean('executable').notNull(),
    modifiedAtMs: bigint('modified_at_ms', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.step, t.number, t.path] }),
    foreignKey({
      name: 'checkpoint_files_set',
      columns: [t.runId, t.step, t.number],
      foreignColumns: [checkpointSets.runId, checkpointSets.step, checkpointSets.number],
    }).onDelete('cascade'),
    index('checkpoint_files_by_blob').on(t.sha256),
  ],
);

/** Checkpoints of another run that a run was submitted with: a pinned input of the stage of that name. */
export const initialCheckpoints = pgTable(
  'initial_checkpoints',
  {
    runId: uuid('run_id')
      .primaryKey()
      .references(() => runs.id),
    fromRunId: uuid('from_run_id').notNull(),
    step: text('step').notNull(),
    number: integer('number').notNull(),
  },
  (t) => [
    foreignKey({
      name: 'initial_checkpoints_set',
      columns: [t.fromRunId, t.step, t.number],
      foreignColumns: [checkpointSets.runId, checkpointSets.step, checkpointSets.number],
    }),
    index('initial_checkpoints_by_set').on(t.fromRunId, t.step, t.number),
  ],
);
