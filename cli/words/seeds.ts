import { InvalidArgumentError } from 'commander';

const seedMax = 4_294_967_295;

/** For commander: 0 to 4294967295, the range that numpy and torch both take. */
export function parseSeed(text: string): number {
  const seed = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (seed <= seedMax) return seed;
  throw new InvalidArgumentError(`Expected a whole number from 0 to ${seedMax}.`);
}
