// Where a reader of live logs stands: `step:attempt:byte` for each log, which is what the event ids carry.

const positionPattern = /^([A-Za-z0-9._-]{1,100}):(\d{1,9}):(\d{1,15})$/;
const logsMax = 1000;

/** What can not be read is left out: the reader then gets that log from its start. */
export function parsePositions(id: string): Map<string, number> {
  const positions = new Map<string, number>();
  for (const item of id.split(',').slice(0, logsMax)) {
    const [, step, attempt, byte] = positionPattern.exec(item.trim()) ?? [];
    if (step !== undefined && attempt !== undefined) positions.set(`${step}:${Number(attempt)}`, Number(byte));
  }
  return positions;
}

export function formatPositions(positions: ReadonlyMap<string, number>): string {
  return [...positions].map(([log, byte]) => `${log}:${byte}`).join(',');
}

/** How many bytes end on a whole character. Bytes that are no UTF-8 at all are let through as they are. */
export function completeUtf8Bytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
