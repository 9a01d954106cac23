// Gives a query one order of its rows: its own ORDER BY first, then every column from left to right. Without that, rows
// that its ORDER BY calls equal would come in whatever order the threads finished.
type Tree = { [key: string]: unknown };

/** Changes the tree of a single statement in place. `columns` is how many columns the query answers. */
export function orderTotally(tree: unknown, columns: number): void {
  const node = (tree as { statements: Array<{ node: Tree }> }).statements[0]?.node;
  if (node === undefined) return;
  const modifiers = node.modifiers as Tree[];
  const own = modifiers.find((modifier) => modifier.type === 'ORDER_MODIFIER');
  const orders = positions(columns, own);
  if (own === undefined) modifiers.splice(placeOfOrder(modifiers), 0, { type: 'ORDER_MODIFIER', orders });
  else own.orders = [...(own.orders as Tree[]).filter((order) => !isAllColumns(order)), ...orders];
}

/** ORDER BY ALL keeps its direction; as an expression it would mean the columns of the tables instead. */
function positions(columns: number, own: Tree | undefined): Tree[] {
  const all = own === undefined ? undefined : (own.orders as Tree[]).find(isAllColumns);
  const direction = { type: all?.type ?? 'ORDER_DEFAULT', null_order: all?.null_order ?? 'ORDER_DEFAULT' };
  return Array.from({ length: columns }, (_, index) => ({ ...direction, expression: position(index + 1) }));
}

function isAllColumns(order: Tree): boolean {
  const expression = order.expression as Tree;
  return expression.class === 'STAR' && expression.expr === null;
}

/** DISTINCT comes before ORDER BY, LIMIT after it. */
function placeOfOrder(modifiers: readonly Tree[]): number {
  const limit = modifiers.findIndex((modifier) => String(modifier.type).startsWith('LIMIT'));
  return limit === -1 ? modifiers.length : limit;
}

function position(value: number): Tree {
  return {
    class: 'CONSTANT',
    type: 'VALUE_CONSTANT',
    alias: '',
    query_location: 0,
    value: { type: { id: 'INTEGER', type_info: null }, is_null: false, value },
  };
}
