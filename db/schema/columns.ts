// Column spellings that several tables share.
import { customType, timestamp } from 'drizzle-orm/pg-core';

/** Microsecond instants; the driver returns them as Date, which keeps milliseconds. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 6, mode: 'date' });

/** Microsecond instants as ISO text, where a lost microsecond would change an answer. */
export const exactInstant = (name: string) => timestamp(name, { withTimezone: true, precision: 6, mode: 'string' });

export const bytea = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => 'bytea' });
