// Requests that failed in the world are sent again. The SDK's own strategy keeps an account that an outage empties, after
// which the first requests of a server that is back are not repeated at all.
import type { S3ClientConfig } from '@aws-sdk/client-s3';

type Strategy = Extract<S3ClientConfig['retryStrategy'], { refreshRetryTokenForRetry: unknown }>;
type Token = Awaited<ReturnType<Strategy['acquireInitialRetryToken']>>;

const attemptsMax = 4;
const firstPauseMs = 100;
const throttledPauseMs = 500;
const pauseMsMax = 10_000;

/** Growing pauses with jitter, longer for a server that asks for less. */
export function createRetries(): Strategy {
  return {
    acquireInitialRetryToken: () => Promise.resolve(tokenOf(0, 0)),
    refreshRetryTokenForRetry: async (token, { errorType, retryAfterHint }) => {
      const retries = token.getRetryCount() + 1;
      if (retries >= attemptsMax || (errorType !== 'TRANSIENT' && errorType !== 'THROTTLING')) {
        throw new Error(`Not repeated after ${retries} attempts.`);
      }
      const base = errorType === 'THROTTLING' ? throttledPauseMs : firstPauseMs;
      const grown = base * 2 ** (retries - 1) * (0.5 + Math.random());
      const asked = retryAfterHint === undefined ? 0 : retryAfterHint.getTime() - Date.now();
      return tokenOf(retries, Math.min(pauseMsMax, Math.max(grown, asked)));
    },
    recordSuccess: () => undefined,
  };
}

function tokenOf(retries: number, pauseMs: number): Token {
  return { getRetryCount: () => retries, getRetryDelay: () => pauseMs };
}
