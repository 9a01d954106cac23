// Runs the hook in a real Python. The package named torch here has the part of PyTorch's interface that the hook uses.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { deterministicVariables, hookVariables, readDeterminism } from '#core/determinism.ts';
import { writeDeterministicHook } from '#environment/python/deterministic-hook.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-hook-'));
  await writeDeterministicHook(join(home, 'hook'));
});

afterAll(() => rm(home, { recursive: true, force: true }));

const torch = `
import types
__version__ = '2.5.1'
_mode = [False, False]
def use_deterministic_algorithms(mode, *, warn_only=False): _mode[:] = [mode, warn_only]
def are_deterministic_algorithms_enabled(): return _mode[0]
def is_deterministic_algorithms_warn_only_enabled(): return _mode[1]
def get_num_threads(): return 3
backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(benchmark=True))
`;

/** Runs train.py beside the files, and answers with its output and what the report comes to. */
async function run(name: string, files: Record<string, string>, report = 'report.jsonl') {
  const folder = join(home, name);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const hook = hookVariables(
    { PYTHONPATH: join(folder, 'packages') },
    { folder: join(home, 'hook'), report: join(folder, report) },
  );
  const env = { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: '1', ...deterministicVariables, ...hook };
  const { stdout, stderr } = await promisify(execFile)('python3', ['train.py'], { cwd: folder, env });
  const text = await readFile(join(folder, report), 'utf8').catch(() => '');
  return { stdout, stderr, text, found: readDeterminism('train', text) };
}

it('torch is deterministic once it is imported, and is what it was otherwise', async () => {
  const script = `
import inspect, torch, torch as again
print(torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
print(type(torch.__loader__).__name__, 'use_deterministic' in inspect.getsource(torch))
`;
  const { stdout, stderr, found } = await run('plain', { 'train.py': script, 'torch/__init__.py': torch });
  expect([stdout, stderr]).toEqual(['True False\nSourceFileLoader True\n', '']);
  expect(found).toMatchObject({ held: true, processes: 1, libraries: [{ library: 'torch', threads: 3 }] });
});

it('a script that switches it off is found out, also when it never comes to its end', async () => {
  const off = 'import os, torch\ntorch.use_deterministic_algorithms(False)\nos.environ["TF_DETERMINISTIC_OPS"] = "0"\n';
  const { found } = await run('off', { 'train.py': off, 'torch.py': torch });
  expect(found.held).toBe(false);
  expect(found.notes).toEqual([
    'train.py had TF_DETERMINISTIC_OPS=0, not 1.',
    'train.py (torch 2.5.1) ended with deterministic algorithms switched off.',
  ]);
  const killed = await run('killed', { 'train.py': 'import os, torch\nos._exit(0)\n', 'torch.py': torch });
  expect(killed.found).toMatchObject({ held: true, libraries: [{ deterministic: true }] });
});

it('never breaks a script: no torch, a torch without the switch, an own sitecustomize, a report that can not be written', async () => {
  const without = 'try:\n  import torch\nexcept ModuleNotFoundError as error:\n  print(error)\n';
  expect(await run('without', { 'train.py': without })).toMatchObject({
    stdout: "No module named 'torch'\n",
    stderr: '',
    found: { held: true, processes: 1, libraries: [] },
  });
  const old = await run('old', { 'train.py': 'import torch\nprint("went on")\n', 'torch.py': '__version__ = "1.4"\n' });
  expect([old.stdout, old.stderr, old.found.held]).toEqual(['went on\n', '', false]);
  expect(old.found.notes.join(' ')).toContain("no attribute 'use_deterministic_algorithms'");
  const broken = 'try:\n  import torch\nexcept ZeroDivisionError:\n  print("theirs")\n';
  expect((await run('broken', { 'train.py': broken, 'torch.py': '1 / 0\n' })).stdout).toBe('theirs\n');
  const own = 'import sys\nprint("own", sys.modules["sitecustomize"].__file__.endswith("packages/sitecustomize.py"))\n';
  const chained = await run('own', { 'train.py': own, 'packages/sitecustomize.py': 'print("own hook")\n' });
  expect(chained.stdout).toBe('own hook\nown True\n');
  const lost = await run(
    'lost',
    { 'train.py': 'import torch\nprint("fine")\n', 'torch.py': torch },
    'no/folder/report',
  );
  expect([lost.stdout, lost.stderr, lost.found.held]).toEqual(['fine\n', '', null]);
});

it('a report does not grow without bound', async () => {
  const many = `
import os, sys
with open(os.environ["ASSAY_DETERMINISM_REPORT"], "w") as file: file.write("x" * 300000)
`;
  expect((await run('many', { 'train.py': many })).text).toHaveLength(300_000);
});
