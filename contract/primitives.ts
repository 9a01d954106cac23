// Spellings that several nouns share: ids, instants, names, pages.
import { z } from 'zod';
import { projectNamePattern } from '#core/names.ts';

export const uuid = z.uuid();

/** ISO 8601 with a zone; answers are in UTC with microseconds where a lost one would change an answer. */
export const instant = z.iso.datetime({ offset: true });

/** An instant to look from, with a zone as Postgres knows them. Nothing that Assay keeps is older than the epoch. */
export const asOf = instant.refine(
  (text) => Date.parse(text) >= 0 && /(?:Z|[+-](?:0\d|1[0-5]):\d\d)$/.test(text),
  'expected an instant after 1970-01-01T00:00:00Z, at most 15:59 hours from UTC',
);

export const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits');

export const gitSha = z
  .string()
  .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'expected a full commit id: 40 or 64 lower-case hexadecimal digits');

export const slug = z
  .string()
  .regex(
    projectNamePattern,
    'expected 1 to 63 lower-case letters, digits, dots, dashes or underscores, starting with a letter or digit',
  );

/** A table of the lake: spelled like an SQL identifier, so that queries need no quotes. */
export const tableName = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'expected a lower-case SQL name of at most 63 characters');

/** A project, by its id or its name. */
export const projectRef = z.string().min(1).max(63);

/** A run, by its id or as `project/number`. In a URL the slash is spelled %2F. */
export const runRef = z
  .string()
  .regex(
    /^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[a-z0-9][a-z0-9._-]{0,62}\/[1-9][0-9]{0,8})$/,
    'expected the id of a run, or its project and number, for example digits/42',
  );

/** A parameter of a URL that counts something. */
export const ordinal = z.coerce.number().int().min(1).max(2_147_483_647);

export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(500).default(50),
  /** `nextCursor` of the page before; only valid with the same filter and sort. */
  cursor: z.string().max(2000).optional(),
};

/** One page of a keyset-paged list. `nextCursor` is null on the last page. */
export function page<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

/** A list that is bounded by nature and comes whole. */
export function whole<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item) });
}
