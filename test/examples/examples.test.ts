import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorkingTree } from '#cli/project/tree-listing.ts';
import { readDeclaredParams, readProject } from '#contract/read-project.ts';

const run = promisify(execFile);
const examples = fileURLToPath(new URL('../../examples', import.meta.url));
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'assay-examples-'));
  await cp(examples, dir, { recursive: true });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function python(example: string, ...args: string[]): Promise<string> {
  return (await run('python3', args, { cwd: join(dir, example) })).stdout;
}

describe.each(['tiny', 'digits'])('the example %s', (example) => {
  it('has a project file without mistakes, and parameters', async () => {
    const tree = await openWorkingTree(join(dir, example));
    const { config, warnings } = await readProject(tree, example);
    expect({ warnings, notYet: config.notYet }).toEqual({ warnings: [], notYet: [] });
    expect(config).toMatchObject({ project: example, models: [{ name: example, path: 'model/' }] });
    expect(config.gate.length).toBeGreaterThan(0);
    expect(await readDeclaredParams(tree, config)).not.toEqual({});
  });

  it('is Python that compiles', async () => {
    const scripts = (await readdir(join(dir, example))).filter((name) => name.endsWith('.py'));
    for (const script of scripts) await python(example, '-c', `compile(open("${script}").read(), "${script}", "exec")`);
  });
});

describe('tiny by hand', () => {
  it('needs nothing but Python and passes its own gate', async () => {
    await python('tiny', 'train.py');
    await python('tiny', 'evaluate.py');
    const metrics = JSON.parse(await readFile(join(dir, 'tiny', 'metrics.json'), 'utf8')) as Record<string, number>;
    expect(metrics.r2).toBeGreaterThan(0.95);
    expect(metrics.rmse).toBeLessThan(1.5);
  });

  it('gives the same bytes every time', async () => {
    const line = () => readFile(join(dir, 'tiny', 'model', 'line.json'), 'utf8');
    await python('tiny', 'train.py');
    const first = await line();
    await python('tiny', 'prepare.py');
    await python('tiny', 'train.py');
    expect(await line()).toBe(first);
  });
});

describe("digits' data", () => {
  it('is the whole test set of UCI: 1797 images of 64 pixels from 0 to 16, with its class counts', async () => {
    const text = await readFile(join(dir, 'digits', 'data', 'digits.csv'), 'utf8');
    const [header = '', ...lines] = text.trimEnd().split('\n');
    const rows = lines.map((line) => line.split(',').map(Number));
    expect(header.split(',')).toHaveLength(66);
    expect(rows).toHaveLength(1797);
    expect(rows.every((row) => row.length === 66 && row.slice(1, 65).every((pixel) => pixel >= 0 && pixel <= 16))).toBe(
      true,
    );
    const counts = Array.from({ length: 10 }, (_, digit) => rows.filter((row) => row[65] === digit).length);
    expect(counts).toEqual([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
  });
});
