/** A commit's files, or a checkout's: what detection may look at. */
export interface Repository {
  /** Paths relative to the root, with `/`. */
  files: readonly string[];
  /** Null when there is no such file. */
  read(path: string): Promise<string | null>;
}
