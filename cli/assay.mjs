#!/usr/bin/env node
// The `assay` command. The program is TypeScript that Node 24 runs as it is; an older Node hands over to the one that
// is installed beside it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';

const program = new URL('./main.ts', import.meta.url);
const ownNode = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url));

if (!existsSync(ownNode)) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  process.stderr.write(`Assay's packages are not installed yet; run: npm install --prefix ${root}\n`);
  process.exitCode = 1;
} else if (Number(process.versions.node.split('.')[0]) >= 24) {
  nodeModule.enableCompileCache?.();
  await import(program.href);
} else {
  handOver();
}

/** A terminal sends Ctrl-C to both processes; other signals reach only this one and are passed on. */
function handOver() {
  const child = spawn(ownNode, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  const ignore = () => undefined;
  process.on('SIGINT', ignore);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`${ownNode} could not be started: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code ?? 1;
      return;
    }
    process.removeListener('SIGINT', ignore);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
