// `npm start`: the embedded stack, until Ctrl-C.
import { fileURLToPath } from 'node:url';
import { readConfig } from '#config/config.ts';
import { runUntilStopped } from './run.ts';

const commandLine = fileURLToPath(new URL('../cli/assay.mjs', import.meta.url));

const stagesRun =
  readConfig().runner.kind === 'docker'
    ? "Stages run in containers of this machine's Docker engine."
    : 'Stages run as processes of this machine: that is for code you trust.';

await runUntilStopped(readConfig, (stack, seconds) => {
  console.log(`
Assay is ready after ${seconds} s.

  API           ${stack.apiUrl}/api/v1
  Reference     ${stack.apiUrl}/api/reference
  Temporal UI   ${stack.temporalUiUrl ?? 'not started'}
  Token         ${stack.tokenFile}
  Logs          ${stack.logs}
  Command line  ${commandLine}

${stagesRun}
In the checkout of a project, \`assay run --wait\` submits it. Ctrl-C stops everything.
`);
  return new Promise<void>(() => undefined);
});
