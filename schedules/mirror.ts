// Temporal's schedules as a mirror of our rows: written after the row, compared with it, never asked what is true.
import {
  type Client,
  type Backfill,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
  type ScheduleSummary,
  isGrpcServiceError,
  ServiceError,
} from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { ScheduleRow } from '#db/schedules.ts';
import { controlQueue, type TriggerInput, triggerWorkflow } from '#workflows/messages.ts';

const projectKey = defineSearchAttributeKey('AssayProject', SearchAttributeType.KEYWORD);
const grpcInvalidArgument = 3;
const idPrefix = 'schedule.';

export type Mirrored = { refused: null } | { refused: string };

/** One id for as long as the row lives. */
export function mirrorId(scheduleId: string): string {
  return idPrefix + scheduleId;
}

/** Null for a schedule that is not ours. */
export function scheduleIdOf(mirrorIdText: string): string | null {
  return mirrorIdText.startsWith(idPrefix) ? mirrorIdText.slice(idPrefix.length) : null;
}

/** Whether what Temporal shows is this version of the row. */
export function isCurrent(shown: Pick<ScheduleSummary, 'state' | 'spec'>, row: ScheduleRow): boolean {
  const note = shown.state.note ?? '';
  const sameState = shown.state.paused === (row.pausedAt !== null) && note.startsWith(versionNote(row));
  return sameState && shown.spec?.timezone === row.timezone;
}

function versionNote({ version }: ScheduleRow): string {
  return `Version ${version} of Assay's schedule.`;
}

function noteOf(row: ScheduleRow): string {
  const kept = `${versionNote(row)} Change it there: what is changed here is put back.`;
  if (row.pausedAt === null) return kept;
  return `${kept} Paused by ${row.pausedBy}${row.pauseNote === null ? '' : `: ${row.pauseNote}`}`;
}

/**
 * Makes Temporal's schedule agree with the row. A schedule that is new there, for example because the server lost its
 * database, is asked for the times since `missedSince`. Answers what Temporal refuses for good, such as a time zone.
 */
export async function mirrorSchedule(client: Client, row: ScheduleRow, missedSince: Date | null): Promise<Mirrored> {
  const { scheduleId, state, ...options } = optionsOf(row);
  try {
    await client.schedule.create({ scheduleId, ...options, state: { ...state, backfill: missed(missedSince) } });
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return await update(client, row);
    return { refused: refusalOf(error) };
  }
  return { refused: null };
}

async function update(client: Client, row: ScheduleRow): Promise<Mirrored> {
  const { scheduleId, ...options } = optionsOf(row);
  try {
    await client.schedule.getHandle(scheduleId).update(() => options);
  } catch (error) {
    return { refused: refusalOf(error) };
  }
  return { refused: null };
}

/** What the server finds wrong with the schedule itself. @throws the error when it is any other trouble. */
function refusalOf(error: unknown): string {
  // One kind of connection gives this error a class of its own, the other leaves the server's answer as the cause.
  if (error instanceof TypeError) return error.message;
  const cause = error instanceof ServiceError ? error.cause : undefined;
  if (isGrpcServiceError(cause) && cause.code === grpcInvalidArgument) return cause.details || cause.message;
  throw error;
}

export async function removeMirror(client: Client, scheduleId: string): Promise<void> {
  try {
    await client.schedule.getHandle(mirrorId(scheduleId)).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}

function missed(since: Date | null): Backfill[] {
  return since === null ? [] : [{ start: since, end: new Date(), overlap: ScheduleOverlapPolicy.ALLOW_ALL }];
}

/** Every tick starts its workflow: what overlaps is decided where the run is inserted. */
function optionsOf(row: ScheduleRow) {
  const projectOf = [{ key: projectKey, value: row.project }];
  return {
    scheduleId: mirrorId(row.id),
    spec: { cronExpressions: [row.cron], timezone: row.timezone },
    policies: { overlap: ScheduleOverlapPolicy.ALLOW_ALL, catchupWindow: row.catchUpSeconds * 1000 },
    action: {
      type: 'startWorkflow' as const,
      workflowType: triggerWorkflow,
      workflowId: mirrorId(row.id),
      taskQueue: controlQueue,
      args: [{ scheduleId: row.id } satisfies TriggerInput],
      staticSummary: `${row.project}: schedule ${row.name}`,
      typedSearchAttributes: projectOf,
    },
    state: { paused: row.pausedAt !== null, note: noteOf(row) },
    typedSearchAttributes: projectOf,
  } satisfies ScheduleOptions;
}
