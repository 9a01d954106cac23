import { execFile } from 'node:child_process';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliServer, git, startCliServer } from './server.ts';

let server: CliServer;
let tiny: string;

beforeAll(async () => {
  server = await startCliServer();
  tiny = await server.checkout('tiny');
  await promisify(execFile)('python3', ['-m', 'venv', '--without-pip', join(tiny, '.venv')]);
});
afterAll(() => server.close());

/** The output of a stage goes to the terminal, so tests let the command write to a file. */
async function inStage(stage: string, script: string, ...options: string[]): Promise<string> {
  const { code } = await server.assay(['exec', ...options, stage, '--', 'sh', '-c', `(${script}) > said.txt`], {
    cwd: tiny,
  });
  expect(code).toBe(0);
  const said = await readFile(join(tiny, 'said.txt'), 'utf8');
  await rm(join(tiny, 'said.txt'));
  return said;
}

describe('assay exec STAGE', () => {
  it('runs here, with .venv and under the variables of a run', async () => {
    const said = await inStage(
      'train',
      'pwd; echo "$ASSAY_STAGE $ASSAY_RUN $ASSAY_MODEL_DIR"; command -v python; echo "$ASSAY_URL"',
    );
    expect(said.split('\n')).toEqual([
      tiny,
      `train tiny/local ${tiny}/model/`,
      join(tiny, '.venv', 'bin', 'python'),
      '',
      '',
    ]);
  });

  it('gives overrides to the script through its own file, which is as it was afterwards', async () => {
    const before = await readFile(join(tiny, 'input.json'), 'utf8');
    const said = await inStage('prepare', 'cat input.json; cat "$ASSAY_PARAMS"', '-P', 'test_share=0.5', '--seed', '3');
    expect(said.match(/"test_share": 0\.5/g)).toHaveLength(2);
    expect(await readFile(join(tiny, 'input.json'), 'utf8')).toBe(before);
    expect(await inStage('prepare', 'echo $ASSAY_SEED', '--seed', '3')).toBe('3\n');
  });

  it('leaves nothing behind that the stage did not write', async () => {
    await inStage('train', 'ls -d outputs model');
    expect((await readdir(tiny)).filter((name) => ['outputs', 'model', 'tensorboard'].includes(name))).toEqual([]);
    expect(await git(tiny, 'status', '--porcelain')).toBe('');
  });

  it("answers with the command's own exit code", async () => {
    const end = (script: string) => server.assay(['exec', 'train', '--', 'sh', '-c', script], { cwd: tiny });
    expect((await end('exit 7')).code).toBe(7);
    expect((await end('kill -TERM $$')).code).toBe(143);
  });

  it('names the stage that was probably meant, and the parameter', async () => {
    expect((await server.assay(['exec', 'trian'], { cwd: tiny })).notes).toContain('Did you mean "train"?');
    const { code, notes } = await server.assay(['exec', '-P', 'rigde=1', 'train'], { cwd: tiny });
    expect(code).toBe(1);
    expect(notes).toContain('Did you mean "ridge"?');
  });

  it('refuses other parameters for a stage of a run', async () => {
    const { code, notes } = await server.assay(['exec', '-P', 'ridge=1', 'tiny/1', 'train'], { cwd: tiny });
    expect(code).toBe(1);
    expect(notes).toContain('assay run --like');
  });
});

describe('assay init', () => {
  it('writes a file that lint finds nothing wrong with, and never over another', async () => {
    const dir = await server.checkout('tiny', 'plain');
    expect((await server.assay(['init'], { cwd: dir })).notes).toContain('--force');
    await rm(join(dir, 'assay.yaml'));
    await writeFile(join(dir, 'requirements.txt'), '');
    expect(await server.assay(['init'], { cwd: dir })).toMatchObject({ code: 0, out: `${join(dir, 'assay.yaml')}\n` });
    expect(await readFile(join(dir, 'assay.yaml'), 'utf8')).toMatch(/^project: plain$/m);
    expect(await server.assay(['lint'], { cwd: dir })).toMatchObject({ code: 0, out: '' });
  });

  it('does not search a folder that is no checkout', async () => {
    expect((await server.assay(['init'], { cwd: server.home })).notes).toContain('is not inside a git checkout');
    expect((await server.assay(['lint'], { cwd: server.home })).code).toBe(1);
  });
});
