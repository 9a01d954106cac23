// Builds one program from its Go module at a pinned version, without leaving anything but the program.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { programCache } from '../temporal-program.mjs';
import { withProgress } from './progress.mjs';

/**
 * @typedef {object} GoProgram
 * @property {string} name what it is called in the cache, on PATH and in messages
 * @property {string} module import path of its main package, for example "github.com/versity/versitygw/cmd/versitygw"
 * @property {string} version without the "v"
 * @property {string} [binary] what `go install` calls it, where that differs from `name`
 * @property {string} [duration] how long a build takes, in words
 */

/**
 * @param {GoProgram} program
 * @param {string} draft an absolute folder that receives the binary
 * @returns {Promise<string | null>} why it did not work, or null
 */
export async function buildGoProgram({ name, module, version, duration = 'two to five minutes' }, draft) {
  if (!(await goAnswers())) return 'Go, which could build it, is not installed';
  // Gigabytes that nobody needs afterwards. They stay when the build is interrupted, so that it continues.
  const scratch = join(programCache(), 'go-build', name);
  const go = spawn('go', ['install', '-ldflags', '-s -w', `${module}@v${version}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      GOBIN: draft,
      GOMODCACHE: join(scratch, 'modules'),
      GOCACHE: join(scratch, 'objects'),
      CGO_ENABLED: '0',
      GOFLAGS: '-modcacherw',
    },
  });
  const said = text(go.stderr);
  const [code] = await withProgress(`Building ${name} ${version} with Go (once, ${duration})`, once(go, 'close'));
  if (code !== 0) return `go install failed (exit ${code}): ${complaints(await said)}`;
  await rm(scratch, { recursive: true, force: true });
  return null;
}

async function goAnswers() {
  const [code] = await once(spawn('go', ['version'], { stdio: 'ignore' }), 'exit').catch(() => [null]);
  return code === 0;
}

/**
 * The build names each of the hundreds of modules it downloads; what matters is what it says after that.
 * @param {string} said
 */
function complaints(said) {
  const lines = said.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('go: downloading '));
  return lines.slice(-5).join('\n');
}
