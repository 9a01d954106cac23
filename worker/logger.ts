import { pino } from 'pino';

export type Logger = ReturnType<typeof createLogger>;

/** Structured lines on standard error, so that standard output stays for people. */
export function createLogger(level: string) {
  return pino({ level, base: null, serializers: { error: pino.stdSerializers.err } }, pino.destination(2));
}
