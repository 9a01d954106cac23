import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findGoProgram, installGoProgram } from '#embedded/setup/go-program.mjs';

const server = { name: 'server', module: 'example.org/store/cmd/server', version: '1.2.0' };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'assay-go-'));
  vi.stubEnv('PATH', join(folder, 'path'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function makeProgram(path: string, content: string): Promise<string> {
  const program = join(folder, path);
  await mkdir(join(program, '..'), { recursive: true });
  await writeFile(program, content);
  await chmod(program, 0o755);
  return program;
}

/** What Go writes into a binary, somewhere in the middle. */
function builtFrom(version: string): string {
  const padding = 'x'.repeat(1024 * 1024 - 30);
  return `${padding}path\texample.org/store/cmd/server\nmod\texample.org/store\tv${version}\th1:abc=\n${padding}`;
}

test('a program in the cache counts only when it was built from the pinned version', async () => {
  const cached = await makeProgram('cache/assay/bin/server', builtFrom('1.1.0'));
  expect(await findGoProgram(server)).toBeNull();
  await writeFile(cached, builtFrom('1.2.0'));
  expect(await findGoProgram(server)).toBe(cached);
});

test('a program on PATH comes before the cache, whatever its version, and a configured one before both', async () => {
  await makeProgram('cache/assay/bin/server', builtFrom('1.2.0'));
  const onPath = await makeProgram('path/server', '#!/bin/sh\n');
  expect(await installGoProgram(server)).toBe(onPath);
  const configured = await makeProgram('elsewhere', '#!/bin/sh\n');
  expect(await installGoProgram(server, configured)).toBe(configured);
  await chmod(configured, 0o644);
  await expect(installGoProgram(server, configured)).rejects.toThrow('is no program');
});

/** Stands where Go is looked for, and installs what it was asked for. */
const go = `#!/bin/sh
[ "$1" = version ] && exit 0
echo "go: downloading example.org/store v1.2.0" >&2
if [ -e "${'$'}{0%/*}/broken" ]; then echo "no required module provides package" >&2; exit 1; fi
echo "$4" >> "${'$'}{0%/*}/builds"
echo "#!/bin/sh" > "$GOBIN/server"
printf 'path\\texample.org/store/cmd/server\\nmod\\texample.org/store\\tv1.2.0\\th1:abc=\\n' >> "$GOBIN/server"
`;

test('what is nowhere is built once, however many ask for it at the same moment', async () => {
  await makeProgram('path/go', go);
  const paths = await Promise.all([1, 2, 3].map(() => installGoProgram(server)));
  expect(new Set(paths)).toEqual(new Set([join(folder, 'cache/assay/bin/server')]));
  expect((await stat(join(folder, 'path/builds'))).size).toBe('example.org/store/cmd/server@v1.2.0\n'.length);
});

test('a build that fails says why and what helps', async () => {
  await makeProgram('path/go', go);
  await makeProgram('path/broken', '');
  await expect(installGoProgram(server)).rejects.toThrow(/no required module provides package.*Install Go/s);
});

test('without Go the message says so', async () => {
  await expect(installGoProgram(server)).rejects.toThrow('Go, which could build it, is not installed');
});
