import type { RowsDifference } from '#lake/engine/operations.ts';

const columnsMax = 12;

/** A difference of rows as readable lines; empty when nothing differs. */
export function rowLines(difference: RowsDifference, key: string | null): string[] {
  const { added, removed, changed, columns, examples, rowsBefore } = difference;
  if (added + removed + changed + columns.length === 0) return [];
  const counts = `${changed} of ${rowsBefore} rows changed, ${removed} removed, ${added} added`;
  return [
    difference.sameInAnotherOrder ? `the same rows in another order (${counts})` : counts,
    ...columns.slice(0, columnsMax).map(columnLine),
    ...(columns.length > columnsMax ? [`and ${columns.length - columnsMax} more columns`] : []),
    ...examples.map((example) => {
      const row = key === null ? `row ${example.row}` : `${key} ${example.key ?? 'null'} (row ${example.row})`;
      const values = example.values.map(
        ({ column, before, after }) => `${column} ${before ?? 'null'} → ${after ?? 'null'}`,
      );
      return `${row}: ${example.what === 'changed' ? values.join(', ') : example.what}`;
    }),
  ];
}

function columnLine({ name, typeBefore, typeAfter, changed, largest }: RowsDifference['columns'][number]): string {
  if (typeAfter === null) return `column ${name}: only in the original`;
  if (typeBefore === null) return `column ${name}: only in the reproduction`;
  const type = typeBefore === typeAfter ? '' : `, type ${typeBefore} → ${typeAfter}`;
  return `column ${name}: ${changed} values${largest === null ? '' : `, by at most ${largest}`}${type}`;
}
