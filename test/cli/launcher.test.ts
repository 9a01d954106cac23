import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const launcher = fileURLToPath(new URL('../../cli/assay.mjs', import.meta.url));

async function launch(
  words: string[],
  stdout: 'pipe' | 'closed',
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [launcher, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  if (stdout === 'closed') child.stdout.destroy();
  else child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

it('passes on output and exit code', async () => {
  expect(await launch(['--version'], 'pipe')).toMatchObject({ code: 0, err: '' });
  expect(await launch(['nonsense'], 'pipe')).toMatchObject({ code: 1, out: '' });
});

it('ends quietly when nobody reads its output', async () => {
  expect(await launch(['--help'], 'closed')).toMatchObject({ code: 0, err: '' });
});
