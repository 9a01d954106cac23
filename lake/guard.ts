// What a query may do, decided on DuckDB's own parse tree. Everything that is not known to be harmless is refused: a
// query reads tables of the lake, answers the same for ever, and touches nothing else.
import { DomainError } from '#core/errors.ts';
import { didYouMean } from '#core/nearest.ts';
import {
  type FunctionRules,
  tableFunctionReason,
  tableFunctions,
  timeKeywords,
  volatileReason,
} from './function-rules.ts';

export interface QueryFacts {
  /** Names as the query spells them, sorted; whether the lake has them is the caller's question. */
  tables: string[];
  /** Names of `$name` parameters, `as_of` included, sorted. */
  parameters: string[];
  /** Rows or sums depend on the order in which threads finish, so one thread has to do it. */
  sequential: boolean;
}

type Tree = { readonly [key: string]: unknown };

const nodeTypes = new Set(['SELECT_NODE', 'SET_OPERATION_NODE', 'RECURSIVE_CTE_NODE', 'CTE_NODE']);
const tableTypes = new Set([
  'BASE_TABLE',
  'SUBQUERY',
  'JOIN',
  'TABLE_FUNCTION',
  'EXPRESSION_LIST',
  'EMPTY',
  'EMPTY_FROM',
  'PIVOT',
  'COLUMN_DATA',
]);
const expressionClasses = new Set([
  'BETWEEN',
  'CASE',
  'CAST',
  'COLLATE',
  'COLUMN_REF',
  'COMPARISON',
  'CONJUNCTION',
  'CONSTANT',
  'FUNCTION',
  'LAMBDA',
  'LAMBDA_REF',
  'OPERATOR',
  'PARAMETER',
  'POSITIONAL_REFERENCE',
  'STAR',
  'SUBQUERY',
  'TYPE',
  'WINDOW',
]);

const listAggregates = new Set(['list_aggregate', 'list_aggr', 'array_aggregate', 'array_aggr', 'aggregate']);

/** Refuses with `query-refused`, or tells what the statement reads. `tree` is what `json_serialize_sql` answered. */
export function guardQuery(tree: unknown, rules: FunctionRules): QueryFacts {
  const statements = isTree(tree) && Array.isArray(tree.statements) ? (tree.statements as unknown[]) : [];
  if (statements.length !== 1) throw refusal(countReason(statements.length));
  const [statement] = statements;
  const root = isTree(statement) ? statement.node : null;
  const facts = { tables: new Set<string>(), parameters: new Set<string>(), sequential: false };
  visit(root, { rules, facts, root, visibleCtes: new Set() });
  return {
    tables: [...facts.tables].sort(),
    parameters: [...facts.parameters].sort(),
    sequential: facts.sequential,
  };
}

interface Visit {
  rules: FunctionRules;
  facts: { tables: Set<string>; parameters: Set<string>; sequential: boolean };
  root: unknown;
  visibleCtes: ReadonlySet<string>;
}

function visit(value: unknown, at: Visit): void {
  if (Array.isArray(value)) {
    for (const item of value) visit(item, at);
    return;
  }
  if (!isTree(value)) return;
  if (typeof value.class === 'string') visitExpression(value, at);
  else if (typeof value.type === 'string' && 'query_location' in value) visitTable(value, at);
  else if (typeof value.type === 'string' && 'cte_map' in value) visitNode(value, at);
  else visitChildren(value, at);
}

function visitChildren(value: Tree, at: Visit): void {
  for (const child of Object.values(value)) visit(child, at);
}

function visitNode(node: Tree, at: Visit): void {
  const type = String(node.type);
  if (!nodeTypes.has(type)) throw notUnderstood(type);
  noteOrder(node, at);
  const { cte_map: cteMap, ...rest } = node;
  const visibleCtes = new Set(at.visibleCtes);
  for (const { key, value } of cteEntries(cteMap)) {
    visit(value, { ...at, visibleCtes: new Set(visibleCtes) });
    visibleCtes.add(folded(key));
  }
  if (typeof node.cte_name === 'string') visitNamed(node.cte_name, rest, { ...at, visibleCtes });
  else visitChildren(rest, { ...at, visibleCtes });
}

function cteEntries(cteMap: unknown): Array<{ key: string; value: unknown }> {
  return isTree(cteMap) && Array.isArray(cteMap.map) ? (cteMap.map as Array<{ key: string; value: unknown }>) : [];
}

/** A common table does not see itself: its first part, or its own query, reads what has the name outside. */
function visitNamed(name: string, { left, query, ...seeing }: Tree, at: Visit): void {
  visit(left, at);
  visit(query, at);
  visitChildren(seeing, { ...at, visibleCtes: new Set([...at.visibleCtes, folded(name)]) });
}

/** As DuckDB compares names, which knows no letters beyond ASCII: for JavaScript the Kelvin sign is a k. */
function folded(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** The outermost node is given a total order, so its own LIMIT and DISTINCT ON choose the same rows every time. */
function noteOrder(node: Tree, at: Visit): void {
  refuseSample(node.sample, at);
  if (node === at.root || !Array.isArray(node.modifiers)) return;
  for (const modifier of node.modifiers as Tree[]) {
    const distinctOn = Array.isArray(modifier.distinct_on_targets) && modifier.distinct_on_targets.length > 0;
    if (String(modifier.type).startsWith('LIMIT') || distinctOn) at.facts.sequential = true;
  }
}

// Numbers of the tree may be raw JSON, which only JSON.stringify spells.
function refuseSample(sample: unknown, at: Visit): void {
  if (!isTree(sample)) return;
  if (Number(JSON.stringify(sample.seed)) >= 0) at.facts.sequential = true;
  else
    throw refusal(
      'SAMPLE draws other rows each time. Give it a seed, as in USING SAMPLE 10% (bernoulli, 42), or select by hash(id).',
    );
}

function visitTable(table: Tree, at: Visit): void {
  const type = String(table.type);
  if (type === 'SHOW_REF')
    throw refusal(
      'SHOW, DESCRIBE and SUMMARIZE describe a table instead of selecting from it. Only SELECT is accepted.',
    );
  if (!tableTypes.has(type)) throw notUnderstood(type);
  refuseSample(table.sample, at);
  if (type === 'BASE_TABLE') noteTable(table, at);
  if (type === 'JOIN' && table.ref_type !== 'REGULAR' && table.ref_type !== 'CROSS') at.facts.sequential = true;
  if (type === 'TABLE_FUNCTION') visitTableFunction(table, at);
  else visitChildren(table, at);
}

function noteTable(table: Tree, at: Visit): void {
  const name = String(table.table_name);
  const qualifier = [table.catalog_name, table.schema_name].filter((part) => part !== '').join('.');
  if (qualifier !== '') {
    throw refusal(`${qualifier}.${name} is not a table of the lake. Tables of the lake are named without a prefix.`);
  }
  if (at.visibleCtes.has(folded(name))) return;
  if (/[/\\.:*]/.test(name)) {
    throw refusal(
      `'${name}' names a file or an address. A query reads tables of the lake only; append the file to a table first.`,
    );
  }
  if (table.at_clause !== null)
    throw refusal(`${name} AT (…): the lake pins every table to the run's as-of time already. Leave the clause out.`);
  at.facts.tables.add(name);
}

function visitTableFunction(table: Tree, at: Visit): void {
  const { function: call, ...rest } = table;
  const name = isTree(call) ? String(call.function_name).toLowerCase() : '';
  if (!isTree(call) || !tableFunctions.has(name)) throw refusal(tableFunctionReason(name));
  visitChildren(call, at);
  visitChildren(rest, at);
}

function visitExpression(expression: Tree, at: Visit): void {
  const kind = String(expression.class);
  if (!expressionClasses.has(kind)) throw notUnderstood(kind);
  if (kind === 'CONSTANT') return;
  if (kind === 'PARAMETER') noteParameter(String(expression.identifier), at);
  if (kind === 'COLUMN_REF') checkColumn(expression.column_names);
  if (kind === 'WINDOW') at.facts.sequential = true;
  if (kind === 'FUNCTION' || kind === 'WINDOW') checkFunction(expression, at);
  visitChildren(expression, at);
}

function noteParameter(identifier: string, at: Visit): void {
  if (/^\d*$/.test(identifier)) throw refusal('Parameters have names: write $name instead of ? or $1.');
  at.facts.parameters.add(identifier);
}

function checkColumn(names: unknown): void {
  if (!Array.isArray(names) || names.length !== 1) return;
  const name = String(names[0]).toLowerCase();
  if (timeKeywords.has(name)) throw refusal(volatileReason(name).replace('()', ''));
}

function checkFunction(call: Tree, at: Visit): void {
  const name = String(call.function_name).toLowerCase();
  const reason = at.rules.refused.get(name);
  if (reason !== undefined) throw refusal(reason);
  if (!at.rules.known.has(name)) throw refusal(`There is no function ${name}().${didYouMean(name, at.rules.known)}`);
  if (name === 'age' && Array.isArray(call.children) && call.children.length === 1) {
    throw refusal(
      'age() with one argument counts from today, so the result could not be reproduced. Write age($as_of, …).',
    );
  }
  if (listAggregates.has(name)) checkListAggregate(name, call, at);
  if (at.rules.orderSensitive.has(name)) at.facts.sequential = true;
}

/** These call the aggregate that their second argument names. */
function checkListAggregate(name: string, call: Tree, at: Visit): void {
  const [, aggregate] = Array.isArray(call.children) ? (call.children as Tree[]) : [];
  const text = aggregate?.class === 'CONSTANT' && isTree(aggregate.value) ? aggregate.value.value : undefined;
  if (typeof text !== 'string') {
    throw refusal(`${name}() needs the name of its aggregate as a text, for example ${name}(list, 'sum').`);
  }
  const reason = at.rules.refused.get(text.toLowerCase());
  if (reason !== undefined) throw refusal(reason);
}

export function refusal(message: string): DomainError {
  return new DomainError('query-refused', message);
}

function countReason(statements: number): string {
  return statements === 0
    ? 'The query is empty. Write one SELECT statement.'
    : `Found ${statements} statements. Write one SELECT statement.`;
}

function notUnderstood(what: string): DomainError {
  return refusal(
    `The query uses ${what.toLowerCase().replaceAll('_', ' ')}, which is not known to be reproducible. Write it as a plain SELECT.`,
  );
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
