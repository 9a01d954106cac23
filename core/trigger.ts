/** What started a run that no person submitted. */
export type Trigger =
  /** A push: `delivery` names what the git host sent, or the poll that found the commit. */
  | { kind: 'push'; branch: string; delivery: string }
  /** A schedule: `nominalAt` is the instant it was due, in ISO 8601, however late it came. */
  | { kind: 'schedule'; schedule: string; nominalAt: string };
