import type { LockedWheel } from '#environment/lock.ts';

/** A wheel on this machine that an environment is made of. */
export interface GatheredWheel extends LockedWheel {
  path: string;
  /** `built` here, of an archive that no index has a wheel for; else as the index or the lock has it. */
  origin: 'index' | 'built' | 'lock';
}

/** Where the wheels of environments are kept beyond this machine: the mirror that needs no index. */
export interface WheelStore {
  /** Every wheel that the environment is made of; null unless all of them were kept. */
  wheelsOf(environmentKey: string): Promise<LockedWheel[] | null>;
  /** Those of the digests that are not kept yet, for whichever environment. */
  missing(sha256s: readonly string[]): Promise<string[]>;
  /** Brings a kept wheel to the path, verified. @throws DomainError blob-missing, blob-corrupt */
  fetch(wheel: { sha256: string }, path: string): Promise<void>;
  /** Keeps the bytes, then the complete list at once. */
  keep(environmentKey: string, wheels: readonly GatheredWheel[]): Promise<void>;
}
