// A reused step has its result by reference: its files, metrics and log lie with the run that made them.
import { type SQL, sql } from 'drizzle-orm';
import { steps } from './schema/steps.ts';

/** The run that holds what the attempt `steps.fence` of this step made. */
export const resultRun: SQL<string> = sql`coalesce(${steps.reusedFrom}, ${steps.runId})`;
