import { pino } from 'pino';

export type Logger = ReturnType<typeof createLogger>;

/** Structured lines, by default on standard error, so that standard output stays for people. */
export function createLogger(level: string, file?: string) {
  const destination = pino.destination(file ?? 2);
  // A disk that is full must not end the process: what can not be written stays in memory and goes out with a later line.
  destination.on('error', () => undefined);
  return pino({ level, base: null, serializers: { error: pino.stdSerializers.err } }, destination);
}
