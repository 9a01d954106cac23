import { jsonb, pgTable, primaryKey, text, uuid, integer } from 'drizzle-orm/pg-core';
import { exactInstant } from './columns.ts';
import { runs } from './runs.ts';
import { snapshots } from './lake.ts';

/** What load-data gave a run: one row per name under `data:` in assay.yaml. */
export const runData = pgTable(
  'run_data',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    name: text('name').notNull(),
    to: text('to').notNull(),
    asOf: exactInstant('as_of').notNull(),
    snapshotId: uuid('snapshot_id').references(() => snapshots.id),
    datasetName: text('dataset_name'),
    datasetVersion: integer('dataset_version'),
    /** Identity for step keys: the snapshot's blob or the dataset version's digest. */
    digest: text('digest').notNull(),
    facts: jsonb('facts').$type<Record<string, unknown>>().notNull().default({}),
  },
  (t) => [primaryKey({ columns: [t.runId, t.name] })],
);
