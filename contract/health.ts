// Health of the server, for people and probes.
import { z } from 'zod';

export const health = z.object({ status: z.literal('alive') }).meta({ id: 'Health' });

/** A header of every answer: the version of the command line that belongs to the server. */
export const versionHeader = 'assay-version';

const part = z.object({ state: z.enum(['ready', 'unavailable']), detail: z.string().nullable() });

/** `ready` needs Postgres and storage; without Temporal submits are still accepted and wait. */
export const readiness = z
  .object({
    status: z.enum(['ready', 'degraded', 'unavailable']),
    parts: z.object({ postgres: part, temporal: part, storage: part }),
  })
  .meta({ id: 'Readiness' });
export type Readiness = z.output<typeof readiness>;
