// Which of the engine's functions a query may call, read from the engine's own list: what answers the same for ever and
// looks at nothing but its arguments.

/** A row of `duckdb_functions()`. */
export interface EngineFunction {
  name: string;
  type: string;
  /** Null for macros, table functions and pragmas. */
  stability: string | null;
  /** A macro's text. */
  definition: string | null;
}

export interface FunctionRules {
  known: ReadonlySet<string>;
  /** Name → why it is refused where a value is expected. Table functions have their own, shorter list. */
  refused: ReadonlyMap<string, string>;
  /** What they answer depends on the order of rows, if only in the last bit of a sum. */
  orderSensitive: ReadonlySet<string>;
}

/** The only functions accepted where a table is expected. */
export const tableFunctions = new Set(['unnest', 'range', 'generate_series', 'json_each', 'json_tree', 'repeat']);

/** The standard spells these without parentheses, so they look like columns. */
export const timeKeywords = new Set([
  'current_date',
  'current_time',
  'current_timestamp',
  'localtime',
  'localtimestamp',
]);

/** Answers depend on the moment, the session or chance, although the engine calls them consistent. */
const alsoVolatile = ['current_localtime', 'current_localtimestamp', 'reservoir_quantile', 'vector_type'];
const sessionReaders = ['current_setting', 'getvariable', 'getenv', 'json_serialize_plan'];
/** Raises an error and is called volatile only to keep the engine from raising it early. */
const notVolatile = new Set(['error']);

/** For floating-point sums, and for lists, the order of the rows matters. For these it does not. */
const orderFreeAggregates = new Set([
  'count',
  'count_star',
  'count_if',
  'countif',
  'min',
  'max',
  'bool_and',
  'bool_or',
  'bit_and',
  'bit_or',
  'bit_xor',
  'approx_count_distinct',
]);

export function functionRules(functions: readonly EngineFunction[]): FunctionRules {
  const refused = new Map<string, string>();
  const orderSensitive = new Set<string>();
  for (const { name, type, stability } of functions) {
    if (type === 'scalar' && stability !== 'CONSISTENT' && !notVolatile.has(name))
      refused.set(name, volatileReason(name));
    if (type === 'aggregate' && !orderFreeAggregates.has(name)) orderSensitive.add(name);
  }
  for (const name of alsoVolatile) refused.set(name, volatileReason(name));
  for (const name of sessionReaders)
    refused.set(name, `${name}() reads the server's settings, which a query must not see.`);
  judgeMacros(functions, refused, orderSensitive);
  refuseTableFunctions(functions, refused);
  return { known: new Set(functions.map(({ name }) => name)), refused, orderSensitive };
}

/** A macro is what it calls, also through other macros. */
function judgeMacros(
  functions: readonly EngineFunction[],
  refused: Map<string, string>,
  orderSensitive: Set<string>,
): void {
  const macros = functions.filter(({ type }) => type === 'macro');
  for (let before = -1; before !== refused.size + orderSensitive.size; ) {
    before = refused.size + orderSensitive.size;
    for (const { name, definition } of macros) {
      const text = (definition ?? '').toLowerCase().replaceAll(/'[^']*'/g, '');
      const words = (text.match(/[a-z_]\w*/g) ?? []).filter((word) => word !== name);
      if (words.some((word) => orderSensitive.has(word))) orderSensitive.add(name);
      if (refused.has(name)) continue;
      if (words.some((word) => /^(duckdb|pragma)_/.test(word))) refused.set(name, catalogueReason(name));
      else if (words.some((word) => refused.has(word) || timeKeywords.has(word)))
        refused.set(name, volatileReason(name));
    }
  }
}

/** Where a value is expected the engine would only say that it does not know them. */
function refuseTableFunctions(functions: readonly EngineFunction[], refused: Map<string, string>): void {
  const values = new Set(functions.filter(({ type }) => /scalar|aggregate|^macro$/.test(type)).map(({ name }) => name));
  for (const { name } of functions) {
    if (!values.has(name) && !tableFunctions.has(name)) refused.set(name, tableFunctionReason(name));
  }
}

export function volatileReason(name: string): string {
  const instead = /random|uuid|seed|reservoir/.test(name)
    ? 'For a stable split or sample use hash(id).'
    : 'For the time of the run use $as_of.';
  return `${name}() answers differently each time, so the result could not be reproduced. ${instead}`;
}

export function tableFunctionReason(name: string): string {
  if (/^(duckdb|pragma|pg)_|show|settings|version|platform/.test(name)) return catalogueReason(name);
  return `${name}() reads files, the network or the engine itself. A query reads tables of the lake only; append the file to a table first.`;
}

function catalogueReason(name: string): string {
  return `${name}() reads the engine's catalogue. A query reads tables of the lake only.`;
}
