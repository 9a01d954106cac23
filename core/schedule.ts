// The words of a schedule: what a tick does while a run of the one before is open, and how late it may come.

/** `skip` starts nothing, `allow` starts beside it, `cancel-previous` asks the open run to stop and starts. */
export const overlaps = ['skip', 'allow', 'cancel-previous'] as const;
export type Overlap = (typeof overlaps)[number];
export const defaultOverlap: Overlap = 'skip';

export const defaultTimeZone = 'UTC';

/** A tick that comes later than this after it was due starts nothing. */
export const catchUpSeconds = { default: 3_600, min: 60, max: 7 * 86_400 } as const;

/** What the clock, a person's wish for a run now, or a range of past times asked for. Overlap counts the first two. */
export const tickOrigins = ['clock', 'hand', 'backfill'] as const;
export type TickOrigin = (typeof tickOrigins)[number];

/** The schedule that a project's assay.yaml declares has this name; no other may have it. */
export const fileScheduleName = 'assay.yaml';

/** `triggers.schedule` of a project file, with every default in its place. */
export interface ScheduleDeclaration {
  cron: string;
  timezone: string;
  overlap: Overlap;
  catchUpSeconds: number;
  /** Null is the project's default branch. */
  branch: string | null;
}

export const schedulesMax = 100;
/** Nominal times of one backfill. */
export const backfillTimesMax = 100;
