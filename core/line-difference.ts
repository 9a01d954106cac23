// A short difference of two small texts, line by line.

/** More changed lines than this are told as one stretch, because comparing each with each would take long. */
const comparedMax = 400;

/** Lines as `line 3 - old` and `line 3 + new`, with the number each has in its own text; at most `linesMax` of them. */
export function differingLines(before: string, after: string, linesMax: number): string[] {
  const [a, b] = [before.split(/\r?\n/), after.split(/\r?\n/)];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const changes = changedLines(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const lines = changes.map(({ sign, line, text }) => `line ${line + head + 1} ${sign} ${text}`);
  return lines.length <= linesMax
    ? lines
    : [...lines.slice(0, linesMax - 1), `and ${lines.length - linesMax + 1} more changed lines`];
}

interface Change {
  sign: '-' | '+';
  /** From 0, in its own text. */
  line: number;
  text: string;
}

/** By the longest common subsequence. */
function changedLines(a: readonly string[], b: readonly string[]): Change[] {
  const removed = (i: number): Change => ({ sign: '-', line: i, text: a[i] ?? '' });
  const added = (j: number): Change => ({ sign: '+', line: j, text: b[j] ?? '' });
  if (a.length > comparedMax || b.length > comparedMax)
    return [...a.map((_, i) => removed(i)), ...b.map((_, j) => added(j))];
  const common = commonLengths(a, b);
  const at = (i: number, j: number) => common[i * (b.length + 1) + j] ?? 0;
  const changes: Change[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) [i, j] = [i + 1, j + 1];
    else if (i < a.length && (j === b.length || at(i + 1, j) >= at(i, j + 1))) changes.push(removed(i++));
    else changes.push(added(j++));
  }
  return changes;
}

function commonLengths(a: readonly string[], b: readonly string[]): Uint16Array {
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const down = lengths[(i + 1) * width + j] ?? 0;
      const right = lengths[i * width + j + 1] ?? 0;
      lengths[i * width + j] = a[i] === b[j] ? 1 + (lengths[(i + 1) * width + j + 1] ?? 0) : Math.max(down, right);
    }
  }
  return lengths;
}
