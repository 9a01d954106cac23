import { boolean, index, integer, jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import type { Hardware } from '#core/hardware.ts';
import type { NodeState } from '#core/node-state.ts';
import type { Shape } from '#core/pool.ts';
import { instant } from './columns.ts';

/** One stage-worker host. A node whose lease ran out is taken for dead. */
export const nodes = pgTable(
  'nodes',
  {
    id: text('id').primaryKey(),
    pool: text('pool').notNull(),
    host: text('host').notNull(),
    slots: integer('slots').notNull(),
    /** What one slot offers. */
    shape: jsonb('shape').$type<Shape>().notNull(),
    /** Ids of the accelerators that the slots of this node hand out. */
    devices: jsonb('devices').$type<string[]>().notNull().default([]),
    hardware: jsonb('hardware').$type<Partial<Hardware>>().notNull().default({}),
    startedAt: instant('started_at').notNull().defaultNow(),
    leaseExpiresAt: instant('lease_expires_at').notNull(),
    /** Whether it takes new stages; outlives the worker. */
    state: text('state').$type<NodeState>().notNull().default('active'),
    stateReason: text('state_reason'),
    stateBy: text('state_by'),
    stateSince: instant('state_since').notNull().defaultNow(),
    /** A draining node stops its stages too. */
    stopsStages: boolean('stops_stages').notNull().default(false),
  },
  (t) => [index('nodes_by_pool').on(t.pool)],
);
