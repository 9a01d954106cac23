// One thing that lint says.
export interface Finding {
  level: 'error' | 'warning' | 'note';
  /** `file:line`, or empty. */
  place: string;
  message: string;
}
