import { pino } from 'pino';

export type Logger = ReturnType<typeof createLogger>;

/** Structured lines, by default on standard error, so that standard output stays for people. */
export function createLogger(level: string, file?: string) {
  const destination = pino.destination(file ?? 2);
  return pino({ level, base: null, serializers: { error: pino.stdSerializers.err } }, destination);
}
