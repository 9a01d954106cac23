// The command line as the server hands it out: what lies in it, and how it is answered.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCliPackage } from '#api/cli-package/cli-package.ts';
import { mapImports } from '#api/cli-package/sources.ts';
import { createTestApi, type TestApi } from './server.ts';

let api: TestApi;
let files: Map<string, string>;
beforeAll(async () => {
  api = await createTestApi();
  files = await unpack((await ask()).rawPayload);
});
afterAll(() => api.close());

function ask(headers: Record<string, string> = {}) {
  return api.app.inject({ url: '/assay.tgz', headers: { host: 'localhost', ...headers } });
}

async function unpack(bytes: Buffer): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const entries = Readable.from([bytes]).pipe(createGunzip()).pipe(extract());
  for await (const entry of entries) found.set(entry.header.name, await text(entry));
  return found;
}

function manifest(): Record<string, unknown> {
  return JSON.parse(files.get('package/package.json') ?? '{}') as Record<string, unknown>;
}

test('anybody may fetch it, and a copy is used again until it changes', async () => {
  const answer = await ask();
  expect(answer.statusCode).toBe(200);
  expect(answer.headers).toMatchObject({ 'content-type': 'application/gzip', 'cache-control': 'public, no-cache' });
  const etag = String(answer.headers.etag);
  expect(etag).toMatch(/^"[0-9a-f]{64}"$/);
  expect(await ask({ 'if-none-match': etag })).toMatchObject({ statusCode: 304, payload: '' });
  expect((await ask({ 'if-none-match': '"other"' })).statusCode).toBe(200);
});

test('every answer names the version that lies in it', async () => {
  const { version } = manifest();
  expect(version).toMatch(/^\d+\.\d+\.\d+\+[0-9a-f]{12}$/);
  expect((await api.app.inject({ url: '/health' })).headers['assay-version']).toBe(version);
  expect((await api.call('GET', '/runs')).headers['assay-version']).toBe(version);
  expect((await api.call('GET', '/runs', { token: null })).headers['assay-version']).toBe(version);
});

test('equal sources give equal bytes, and they are built once', async () => {
  const { cacheDir } = api.deps.facts;
  const [name = ''] = await readdir(cacheDir);
  const before = await stat(join(cacheDir, name));
  const again = await createCliPackage(cacheDir).read();
  expect((await stat(join(cacheDir, name))).mtimeMs).toBe(before.mtimeMs);
  const elsewhere = await createCliPackage(join(cacheDir, 'elsewhere')).read();
  expect(elsewhere.sha256).toBe(again.sha256);
  expect(`"${again.sha256}"`).toBe((await ask()).headers.etag);
});

test('twenty who ask at once get the same, from one build', async () => {
  const cacheDir = join(api.deps.facts.cacheDir, 'at-once');
  const cliPackage = createCliPackage(cacheDir);
  const answers = await Promise.all(Array.from({ length: 20 }, () => cliPackage.read()));
  expect(new Set(answers).size).toBe(1);
  expect(await readdir(cacheDir)).toHaveLength(1);
});

test('it holds JavaScript of the folders that the command line needs, and nothing of the server', () => {
  const folders = [...files.keys()].map((name) => name.split('/')[1]);
  expect(new Set(folders)).toEqual(
    new Set([
      'LICENSE',
      'README.md',
      'assay.mjs',
      'cli',
      'contract',
      'core',
      'environment',
      'package.json',
      'proof',
      'sdk',
    ]),
  );
  expect([...files.keys()].filter((name) => name.endsWith('.ts'))).toEqual([]);
  for (const [name, code] of files) {
    if (!name.endsWith('.js')) continue;
    const named: string[] = [];
    mapImports(code, (from) => {
      named.push(from);
      return from;
    });
    expect(named.filter((from) => from.endsWith('.ts'))).toEqual([]);
    const ours = named.filter((from) => from.startsWith('#')).map((from) => `package/${from.slice(1)}`);
    expect(ours.filter((path) => !files.has(path))).toEqual([]);
    expect(code).not.toMatch(/^(?:export )?(?:interface|type) \w+/m);
  }
});

test('it holds no path of the machine that built it', () => {
  const here = [join(import.meta.dirname, '../..'), process.env.HOME ?? '', api.deps.facts.cacheDir].filter(
    (path) => path.length > 1,
  );
  for (const [name, code] of files) expect(here.filter((path) => code.includes(path)).map(() => name)).toEqual([]);
});

test('it asks for exactly the packages that its files import', () => {
  expect(Object.entries(manifest().dependencies as Record<string, string>)).toEqual(
    ['commander', 'picomatch', 'smol-toml', 'yaml', 'zod'].map((name) => [
      name,
      expect.stringMatching(/^\d+\.\d+\.\d+$/),
    ]),
  );
  expect(manifest()).toMatchObject({ name: 'assay', engines: { node: '>=22.13' }, bin: { assay: './assay.mjs' } });
});

test('an import is found in whatever way it is written', () => {
  const code = [
    "import { a } from './a.ts';",
    'import {\n  b,\n  type C,\n} from "#core/b.ts";',
    "import type { D } from './d.ts';",
    "export * from './e.ts';",
    "import './f.ts';",
    "const g = await import('yaml');",
    'const text = "from \'./h.ts\'";',
  ].join('\n');
  const named: string[] = [];
  mapImports(code, (from) => {
    named.push(from);
    return from;
  });
  expect(named).toEqual(['./a.ts', '#core/b.ts', './e.ts', './f.ts', 'yaml']);
});
