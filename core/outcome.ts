// What a stage's launch came to, as the workflow sees it. Outcomes are data; exceptions mean trouble in the world.
import type { Failure } from './run.ts';

export type StageOutcome =
  | { status: 'succeeded'; fence: number }
  /** `started` is false when nothing of the stage ran, so that a full disk is not the stage's own doing. */
  | { status: 'failed'; fence: number | null; failure: Failure; started?: boolean }
  /** The run was cancelled or ended elsewhere; nothing more is to be started. */
  | { status: 'stopped' };

export type AttemptState =
  | { state: 'closed'; outcome: StageOutcome }
  /** The node still renews its lease: the launch is to be attached to, there, with the same fence. */
  | { state: 'live'; nodeId: string; fence: number }
  /** Nobody watches the launch any more; a new fence is due. A drained node costs no retry. */
  | { state: 'lost'; drained: boolean; sentence: string };

/** How often a stage may be lost to the infrastructure before a person has to decide. */
export const infrastructureRetriesMax = 3;
