// A stage that ran for hours must not be lost because Postgres restarts for a minute.
import { DomainError } from '#core/errors.ts';
import { isMistake } from './mistakes.ts';

const firstPauseMs = 200;
const pauseMsMax = 5_000;

/** Repeats an idempotent act on trouble in the world until `withinMs` is over; refusals and mistakes are thrown at once. */
export async function persevere<R>(act: () => Promise<R>, withinMs = 120_000): Promise<R> {
  const until = performance.now() + withinMs;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    try {
      return await act();
    } catch (error) {
      if (error instanceof DomainError || isMistake(error) || performance.now() + pauseMs > until) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
