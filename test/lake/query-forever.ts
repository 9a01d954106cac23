// Runs a query that does not end, for a test that kills this process; prints the query process's id once it works.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { spawnQueryProcess } from '#lake/engine/query-process.ts';

const directory = process.argv[2] ?? '';
mkdirSync(join(directory, 'spill'), { recursive: true });
const child = spawnQueryProcess(directory);
await child.send({
  kind: 'open',
  limits: { threads: 1, memoryMib: 256, directory, directoryBytesMax: 1024 ** 2 },
});
const query = 'SELECT count(*) AS n FROM range(10000000000) a, range(1000000000) b';
const args = {
  query,
  tables: [],
  parameters: {},
  asOf: '2024-01-01T00:00:00.000000Z',
  out: join(directory, 'out.parquet'),
};
const running = child.send({ kind: 'call', name: 'materialise', args });
process.stdout.write(`${child.pid}\n`);
await running;
