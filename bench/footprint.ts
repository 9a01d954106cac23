// How small the embedded stack is at rest, and how soon it is ready.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Comparison, median, printComparisons, printMachine, withTemporaryDir } from './report.ts';
import { type BenchStack, startBenchStack } from './stack.ts';

/** Time after the start in which garbage is collected and caches of the start are let go. */
const restMs = 20_000;
const warmStarts = 3;
const mib = 1024 ** 2;

interface Process {
  pid: number;
  parent: number;
  command: string;
}

function processTable(): Process[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [, pid = '', parent = '', command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return { pid: Number(pid), parent: Number(parent), command };
  });
}

/** The process and everything below it. */
function treeOf(table: readonly Process[], root: number): Process[] {
  const below = table.filter(({ parent }) => parent === root).flatMap(({ pid }) => treeOf(table, pid));
  return [...table.filter(({ pid }) => pid === root), ...below];
}

/**
 * `Pss` divides shared pages among those who share them, so the processes of a group may be added up; `Rss` counts them
 * whole.
 */
function memoryBytes(pid: number, kind: 'Pss' | 'Rss'): number {
  const line = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${kind}:`));
  return Number(line?.split(/\s+/)[1]) * 1024;
}

const groups: Array<{ what: string; isOfGroup: (process: Process, root: number) => boolean; aim?: string }> = [
  { what: 'API and workers', isOfGroup: ({ pid }, root) => pid === root, aim: '≤ 250 MiB' },
  { what: 'Temporal', isOfGroup: ({ command }) => command.includes('start-dev') },
  { what: 'PostgreSQL, all processes', isOfGroup: ({ command }) => command.includes('postgres') },
  { what: 'guard', isOfGroup: ({ command }) => command.includes('guard.py') },
];

function measureMemory(stack: BenchStack): Comparison[] {
  const tree = treeOf(processTable(), stack.pid);
  const sum = (processes: readonly Process[]) =>
    processes.reduce((bytes, { pid }) => bytes + memoryBytes(pid, 'Pss'), 0) / mib;
  const left = new Set(tree);
  const rows = groups.map(({ what, isOfGroup, aim }) => {
    const mine = [...left].filter((process) => isOfGroup(process, stack.pid));
    for (const process of mine) left.delete(process);
    return { what: `${what}, idle`, ours: sum(mine), unit: 'MiB', ...(aim === undefined ? {} : { aim }) };
  });
  const others = { what: 'everything else below it, idle', ours: sum([...left]), unit: 'MiB' };
  const whole = memoryBytes(stack.pid, 'Rss') / mib;
  const shared = {
    what: 'API and workers, idle, shared pages counted whole',
    ours: whole,
    unit: 'MiB',
    aim: '≤ 250 MiB',
  };
  return [shared, ...rows, others, { what: `all ${tree.length} processes, idle`, ours: sum(tree), unit: 'MiB' }];
}

/** What the start of an empty Node costs on this machine, as the limit. */
function bareNodeMs(): number {
  const startedMs = performance.now();
  execFileSync(process.execPath, ['-e', '0']);
  return performance.now() - startedMs;
}

async function startAndStop(home: string): Promise<number> {
  const stack = await startBenchStack(home);
  await stack.stop();
  return stack.readyMs;
}

await withTemporaryDir(async (dir) => {
  printMachine();
  if (readdirSync('/proc').every((name) => name !== 'meminfo'))
    throw new Error('Memory is read from /proc: use Linux.');
  const home = join(dir, 'home');
  const first = await startBenchStack(home);
  await sleep(restMs);
  const memory = measureMemory(first);
  await first.stop();
  const ready: number[] = [];
  const limit: number[] = [];
  for (let n = 0; n < warmStarts; n += 1) {
    ready.push(await startAndStop(home));
    limit.push(bareNodeMs());
  }
  const against = { name: 'node -e 0', value: median(limit) / 1000 };
  printComparisons('footprint: the embedded stack', [
    { what: 'ready, empty home', ours: first.readyMs / 1000, unit: 's' },
    { what: 'ready, warm', ours: median(ready) / 1000, unit: 's', against, aim: '≤ 5 s' },
    ...memory,
  ]);
});
