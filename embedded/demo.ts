// `npm run demo`: a real project from its data to a model that passed its gate, on the embedded stack, as its owner
// would do it by hand with the `assay` command.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readConfig } from '#config/config.ts';
import { runUntilStopped } from './run.ts';
import type { Stack } from './stack.ts';

const example = fileURLToPath(new URL('../examples/digits', import.meta.url));
const program = fileURLToPath(new URL('../cli/main.ts', import.meta.url));
const table = 'digits';

/** A copy of the example as its owner has it: a git repository, and a server to send it to. */
interface Place {
  checkout: string;
  variables: NodeJS.ProcessEnv;
  stopped: AbortSignal;
}

await runUntilStopped(readConfig, async (stack, seconds, stopped) => {
  console.log(`Assay is ready after ${seconds} s.`);
  const folder = await mkdtemp(join(tmpdir(), 'assay-demo-'));
  try {
    await runExample({ checkout: join(folder, 'digits'), variables: await clientVariables(stack), stopped });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  console.log(links(stack));
  if (process.stdout.isTTY) await new Promise<never>(() => undefined);
});

async function runExample(place: Place): Promise<void> {
  await makeRepository(place.checkout);
  if (!(await hasTable(place))) {
    title('The data goes to the lake');
    await assay(place, ['lake', 'append', table, 'data/digits.csv']);
  }
  title('A run: commit, environment, data, train, evaluate, gate');
  console.log('The first one installs scikit-learn, which takes a minute or two.');
  await assay(place, ['run', '--wait', '--name', 'demo']);
  title("The model's assay: what made it, and the numbers that prove it");
  await assay(place, ['show', await newestRun(place)]);
}

/** A project is a git repository; the example is a folder of one. */
async function makeRepository(checkout: string): Promise<void> {
  await cp(example, checkout, { recursive: true });
  const git = (...words: string[]) => promisify(execFile)('git', ['-C', checkout, ...words]);
  await git('init', '-q', '-b', 'main');
  await git('add', '-A');
  await git('-c', 'user.name=Demo', '-c', 'user.email=demo@localhost', 'commit', '-q', '-m', 'Recognise digits');
}

async function hasTable(place: Place): Promise<boolean> {
  const { items } = (await askAssay(place, ['lake', 'ls', '--json'])) as { items: Array<{ name: string }> };
  return items.some(({ name }) => name === table);
}

async function newestRun(place: Place): Promise<string> {
  const answer = await askAssay(place, ['ls', '--json']);
  const [newest] = (answer as { items: Array<{ project: string; number: number }> }).items;
  if (newest === undefined) throw new Error('The server lists no run after one was submitted.');
  return `${newest.project}/${newest.number}`;
}

/** Shows the command as a person would type it, then runs it. @throws when it fails, its message being on the screen. */
async function assay({ checkout, variables, stopped }: Place, words: string[]): Promise<void> {
  console.log(`\n$ assay ${words.join(' ')}`);
  const child = spawn(process.execPath, [program, ...words], {
    cwd: checkout,
    env: variables,
    stdio: ['ignore', 'inherit', 'inherit'],
    signal: stopped,
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`The demo ends here: assay ${words[0]} ended with exit code ${code}.`);
}

async function askAssay({ checkout, variables, stopped }: Place, words: string[]): Promise<unknown> {
  const options = { cwd: checkout, env: variables, signal: stopped };
  return JSON.parse((await promisify(execFile)(process.execPath, [program, ...words], options)).stdout);
}

/** Whatever server somebody is logged in to, the demo speaks with its own. */
async function clientVariables({ apiUrl, tokenFile }: Stack): Promise<NodeJS.ProcessEnv> {
  return { ...process.env, ASSAY_URL: apiUrl, ASSAY_TOKEN: (await readFile(tokenFile, 'utf8')).trim() };
}

function title(text: string): void {
  console.log(`\n── ${text}`);
}

function links(stack: Stack): string {
  const next = 'Next: npm start, and in README.md "Your first own project in five minutes".';
  const ending = process.stdout.isTTY ? 'Ctrl-C stops everything.' : 'Stopping now; npm start brings it all back.';
  return `
  API           ${stack.apiUrl}/api/v1
  Reference     ${stack.apiUrl}/api/reference
  Temporal UI   ${stack.temporalUiUrl ?? 'not started'}
  Token         ${stack.tokenFile}

${next}
${ending}`;
}
