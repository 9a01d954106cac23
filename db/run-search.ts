// Searching runs: filter, sort and keyset cursor as SQL in which every value is a parameter.
import { and, asc, desc, eq, inArray, type SQL, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { gateResults, type RunStatus, runStatuses } from '#core/run.ts';
import type { Queryable } from './connect.ts';
import { durationMs, isoInstant } from './instants.ts';
import { isUuid } from './ids.ts';
import { type Comparison, type Field, type Operator, parseRunFilter, parseRunSort, refuseField } from './run-filter.ts';
import { type RunSummaryRow, summaryColumns } from './run-summary.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

export interface RunSearch {
  projectId: string | null;
  experiment: string | null;
  statuses: RunStatus[];
  owner: string | null;
  tag: string | null;
  filter: string;
  sort: string;
  limit: number;
  cursor: string | null;
}

export interface RunPage {
  items: RunSummaryRow[];
  nextCursor: string | null;
}

const defaultSort = 'submittedAt desc';

/** @throws invalid-request with the position for a filter, sort or cursor that can not be used. */
export async function searchRuns(db: Queryable, search: RunSearch): Promise<RunPage> {
  const sort = search.sort === '' ? defaultSort : search.sort;
  const order = parseRunSort(sort);
  const key = sortKey(order.field);
  const found = await db
    .select({ ...summaryColumns, sortKey: key.text })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(and(...fixedConditions(search), ...parseRunFilter(search.filter).map(condition), after(search, sort, key)))
    .orderBy(...orderBy(key, order.descending))
    .limit(search.limit + 1);
  const items = found.slice(0, search.limit);
  const last = found.length > search.limit ? found[search.limit - 1] : undefined;
  return { items, nextCursor: last === undefined ? null : encodeCursor({ sort, key: last.sortKey, id: last.id }) };
}

function fixedConditions(search: RunSearch): Array<SQL | undefined> {
  return [
    search.projectId === null ? undefined : eq(runs.projectId, search.projectId),
    search.experiment === null ? undefined : eq(runs.experiment, search.experiment),
    search.statuses.length === 0 ? undefined : inArray(runs.status, search.statuses),
    search.owner === null ? undefined : eq(runs.owner, search.owner),
    search.tag === null ? undefined : hasTag(search.tag),
  ];
}

type ValueKind = 'text' | 'number' | 'instant';

interface Attribute {
  kind: ValueKind;
  value: SQL;
  /** All values there are: another one is a mistake that would find nothing. */
  known?: readonly string[];
  /** Never null: the cursor may compare whole rows, which the index answers. */
  required?: true;
}

const attributes: Readonly<Record<string, Attribute>> = {
  id: { kind: 'text', value: sql`${runs.id}::text`, required: true },
  number: { kind: 'number', value: sql`${runs.number}`, required: true },
  project: { kind: 'text', value: sql`${projects.name}`, required: true },
  experiment: { kind: 'text', value: sql`${runs.experiment}`, required: true },
  name: { kind: 'text', value: sql`${runs.name}` },
  status: { kind: 'text', value: sql`${runs.status}`, required: true, known: runStatuses },
  owner: { kind: 'text', value: sql`${runs.owner}`, required: true },
  ref: { kind: 'text', value: sql`${runs.ref}`, required: true },
  branch: { kind: 'text', value: sql`${runs.branch}` },
  commit: { kind: 'text', value: sql`${runs.commit}` },
  gateResult: { kind: 'text', value: sql`${runs.gateResult}`, known: gateResults },
  submittedAt: { kind: 'instant', value: sql`${runs.submittedAt}`, required: true },
  startedAt: { kind: 'instant', value: sql`${runs.startedAt}` },
  finishedAt: { kind: 'instant', value: sql`${runs.finishedAt}` },
  asOf: { kind: 'instant', value: sql`${runs.asOf}`, required: true },
  durationMs: { kind: 'number', value: sql`(${durationMs(runs.startedAt, runs.finishedAt)})` },
};

function attributeOf(parameter: 'filter' | 'sort', field: Field): Attribute {
  const known = Object.keys(attributes);
  const name = known.find((candidate) => candidate.toLowerCase() === field.name.replaceAll('_', '').toLowerCase());
  const attribute = name === undefined ? undefined : attributes[name];
  if (attribute !== undefined) return attribute;
  const spelling = `attributes are ${known.join(', ')}; params and metrics are spelled params.NAME and metrics.NAME`;
  throw refuseField(parameter, field, `there is no attribute "${field.name.slice(0, 60)}"; ${spelling}.`);
}

/** The value that counts: of the last step that reported the key in the newest execution. NaN is no value. */
function metricValue(key: string): SQL {
  return sql`(select nullif(m.last::float8, 'NaN') from steps s
    join metrics m on m.run_id = coalesce(s.reused_from, s.run_id) and m.step = s.name and m.fence = s.fence
    where s.run_id = ${runs.id} and m.key = ${key} order by s.execution desc, s.position desc limit 1)`;
}

/** Resolved parameters are nested maps, overrides have dotted names; either spelling finds the value. */
function paramValue(name: string): SQL {
  const path = name.split('.');
  return sql`coalesce(${runs.params} -> ${name}::text, ${runs.params} #> ${sql.param(path)}::text[], ${runs.overrides} -> ${name}::text)`;
}

function hasTag(tag: string): SQL {
  return sql`${runs.tags} @> array[${tag}]::text[]`;
}

function condition(comparison: Comparison): SQL {
  const { field, operator, values } = comparison;
  switch (field.kind) {
    case 'tag':
      return tagCondition(comparison);
    case 'metric':
      return compare(metricValue(field.name), 'number', comparison);
    case 'param':
      return paramCondition(comparison);
    case 'attribute': {
      const attribute = attributeOf('filter', field);
      if (field.name.toLowerCase() === 'id' && operator === '=' && isUuid(String(values[0]))) {
        return sql`${runs.id} = ${String(values[0])}::uuid`;
      }
      requireKnown(attribute, comparison);
      return compare(attribute.value, attribute.kind, comparison);
    }
  }
}

function requireKnown({ known }: Attribute, { field, operator, values }: Comparison): void {
  if (known === undefined || !['=', '!=', 'in', 'not in'].includes(operator)) return;
  const strange = values.find((value) => !known.includes(String(value)));
  if (strange === undefined) return;
  throw refuseField('filter', field, `${field.name} is never '${strange}'; expected one of ${known.join(', ')}.`);
}

function tagCondition(comparison: Comparison): SQL {
  const { field, operator, values } = comparison;
  const texts = values.map(String);
  if (operator === '=') return hasTag(texts[0] ?? '');
  if (operator === '!=') return sql`not ${hasTag(texts[0] ?? '')}`;
  if (operator === 'in') return sql`${runs.tags} && ${sql.param(texts)}::text[]`;
  if (operator === 'not in') return sql`not ${runs.tags} && ${sql.param(texts)}::text[]`;
  if (operator === 'like') return sql`exists (select 1 from unnest(${runs.tags}) tag where tag like ${texts[0]})`;
  if (operator === 'ilike') return sql`exists (select 1 from unnest(${runs.tags}) tag where tag ilike ${texts[0]})`;
  throw refuseField('filter', field, `tag can be compared by =, !=, in, not in, like and ilike, not by ${operator}.`);
}

/** A number is compared as a number, a text as text, whatever the parameter is; other kinds do not match. */
function paramCondition(comparison: Comparison): SQL {
  const value = paramValue(comparison.field.name);
  const numeric = comparison.values.length > 0 && comparison.values.every((item) => typeof item === 'number');
  if (!numeric) return compare(sql`(${value} #>> '{}')`, 'text', comparison);
  return compare(sql`(case when jsonb_typeof(${value}) = 'number' then (${value})::float8 end)`, 'number', comparison);
}

const binary: Partial<Record<Operator, SQL>> = {
  '=': sql`=`,
  '<': sql`<`,
  '<=': sql`<=`,
  '>': sql`>`,
  '>=': sql`>=`,
  like: sql`like`,
  ilike: sql`ilike`,
};

function compare(value: SQL, kind: ValueKind, { field, operator, values }: Comparison): SQL {
  if (operator === 'is null') return sql`${value} is null`;
  if (operator === 'is not null') return sql`${value} is not null`;
  const isPattern = operator === 'like' || operator === 'ilike';
  if (isPattern && kind !== 'text') throw refuseField('filter', field, `${operator} compares texts only.`);
  const bound = values.map((item) => bind(item, kind, field));
  if (operator === '!=') return sql`${value} is distinct from ${bound[0]}`;
  if (operator === 'in') return sql`${value} in (${sql.join(bound, sql`, `)})`;
  if (operator === 'not in') return sql`(${value} is null or ${value} not in (${sql.join(bound, sql`, `)}))`;
  return sql`${value} ${binary[operator]} ${bound[0]}`;
}

function bind(value: string | number, kind: ValueKind, field: Field): SQL {
  switch (kind) {
    case 'text':
      return sql`${String(value)}::text`;
    case 'number': {
      const number = typeof value === 'number' ? value : Number(value);
      if (value === '' || Number.isNaN(number))
        throw refuseField('filter', field, `expected a number, found '${value}'.`);
      return sql`${number}::float8`;
    }
    case 'instant':
      if (!isInstant(String(value))) {
        throw refuseField('filter', field, `expected an instant like '2026-01-31T12:00:00Z', found '${value}'.`);
      }
      return sql`${String(value)}::timestamptz`;
  }
}

const instantPattern =
  /^(?!0000)(\d{4}-\d\d-\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-](?:0\d|1[0-5]):\d\d)?$/;

/** Refuses what Postgres refuses: the year zero, zones beyond 15:59 and days that their month does not have. */
function isInstant(text: string): boolean {
  const day = instantPattern.exec(text)?.[1];
  if (day === undefined || Number.isNaN(Date.parse(text))) return false;
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
}

interface SortKey {
  kind: ValueKind;
  value: SQL;
  required: boolean;
  /** The value as the cursor carries it. */
  text: SQL<string | null>;
}

function sortKey(field: Field): SortKey {
  if (field.kind === 'tag') throw refuseField('sort', field, 'runs can not be sorted by tag.');
  const { kind, value, required }: Attribute =
    field.kind === 'attribute'
      ? attributeOf('sort', field)
      : field.kind === 'metric'
        ? { kind: 'number', value: metricValue(field.name) }
        : { kind: 'text', value: sql`(${paramValue(field.name)} #>> '{}')` };
  const text = kind === 'instant' ? isoInstant(value) : sql<string | null>`(${value})::text`;
  return { kind, value, required: required === true, text };
}

/** Runs without the value come last in both directions; the id makes the order total. */
function orderBy(key: SortKey, descending: boolean): SQL[] {
  const direction = descending ? desc : asc;
  const nullsLast = key.required ? [] : [sql`(${key.value}) is null`];
  return [...nullsLast, direction(key.value), direction(runs.id)];
}

interface Cursor {
  sort: string;
  key: string | null;
  id: string;
}

function after(search: RunSearch, sort: string, key: SortKey): SQL | undefined {
  if (search.cursor === null) return undefined;
  const cursor = decodeCursor(search.cursor, sort, key);
  const beyond = parseRunSort(sort).descending ? sql`<` : sql`>`;
  const tie = sql`${runs.id} ${beyond} ${cursor.id}::uuid`;
  if (cursor.key === null) return sql`(${key.value}) is null and ${tie}`;
  const value = sql`${cursor.key}::${sql.raw(casts[key.kind])}`;
  if (key.required) return sql`(${key.value}, ${runs.id}) ${beyond} (${value}, ${cursor.id}::uuid)`;
  return sql`((${key.value}) is null or (${key.value}) ${beyond} ${value} or ((${key.value}) = ${value} and ${tie}))`;
}

const casts: Record<ValueKind, string> = { text: 'text', number: 'float8', instant: 'timestamptz' };

function encodeCursor(cursor: Cursor): string {
  return Buffer.from(JSON.stringify([cursor.sort, cursor.key, cursor.id])).toString('base64url');
}

function decodeCursor(text: string, sort: string, { kind }: SortKey): Cursor {
  const [madeFor, key, id] = parseCursor(text);
  const fits =
    kind === 'text' || (kind === 'number' ? !Number.isNaN(Number(key || Number.NaN)) : isInstant(String(key)));
  if (madeFor === sort && typeof id === 'string' && isUuid(id) && (key === null || (typeof key === 'string' && fits))) {
    return { sort, key, id };
  }
  const message = 'The cursor does not belong to this search. Start without one, and keep filter and sort unchanged.';
  throw new DomainError('invalid-request', message, [{ path: 'query.cursor', message }]);
}

function parseCursor(text: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}
