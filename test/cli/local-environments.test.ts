// An environment of this machine for a run that ran in containers.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Context } from '#cli/context.ts';
import { recipeOfRun } from '#cli/stage/local-environments.ts';
import type { Run } from '#contract/runs.ts';
import { createFrozenLock } from '#environment/lock.ts';
import type { Client } from '#sdk/client.ts';
import { createWorkshop, type Workshop } from '#test/environment/workshop.ts';
import { createRecordingTerminal } from './terminals.ts';

let shop: Workshop;
beforeAll(async () => {
  shop = await createWorkshop();
});
afterAll(() => shop.remove());

const base = { kind: 'image', reference: 'python@sha256:abc', digest: 'sha256:abc' };

async function recipeOf(facts: Record<string, unknown>) {
  const terminal = createRecordingTerminal();
  const context: Context = { cwd: shop.dir, env: {}, terminal, stdin: process.stdin, asJson: false };
  const lock = createFrozenLock(['numpy==1.26.4']).text;
  const client = { runs: { openLock: () => Promise.resolve(new Response(lock)) } } as unknown as Client;
  const run = { id: 'id', label: 'digits/4', steps: [{ name: 'build-environment', facts }], config: null };
  const root = await shop.checkout({});
  const recipe = await recipeOfRun(context, shop.environments, client, run as unknown as Run, root);
  return { recipe, notes: terminal.notes };
}

it('is made with the Python of this machine, and what differs from the image is said', async () => {
  const { interpreter } = await shop.environments.selectPython({ request: null, from: 'the default' });
  const minor = interpreter.version.split('.').slice(0, 2).join('.');
  const { recipe, notes } = await recipeOf({ python: `${minor}.99`, platform: 'linux-x86_64-musl', base });
  expect(recipe.interpreter.version.startsWith(`${minor}.`)).toBe(true);
  expect(notes).toEqual([
    expect.stringContaining(`digits/4 asks for Python ${minor}.99`),
    expect.stringMatching(/^digits\/4 ran in python@sha256:abc with Python \S+ on linux-x86_64-musl; here are Python /),
    expect.stringContaining('used the packages of python@sha256:abc itself'),
  ]);
});

it('can not be made for an image without Python, which is said', async () => {
  await expect(recipeOf({ python: 'none', platform: 'linux-x86_64', base })).rejects.toThrow(
    'digits/4 ran in python@sha256:abc, which has no Python, so there is no environment to make here.',
  );
});
