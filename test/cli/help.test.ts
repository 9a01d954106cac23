import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '#cli/program.ts';
import { callCli } from './call.ts';
import { createRecordingTerminal } from './terminals.ts';

const terminal = createRecordingTerminal({ columns: 100 });
const program = createProgram({ cwd: '/', env: {}, terminal, stdin: process.stdin, asJson: false });

function withSubcommands(command: Command, path: string): [string, Command][] {
  return [[path, command], ...command.commands.flatMap((child) => withSubcommands(child, `${path} ${child.name()}`))];
}

describe('help', () => {
  it.each(withSubcommands(program, 'assay'))('of %s reads as agreed', (_path, command) => {
    expect(command.helpInformation()).toMatchSnapshot();
  });

  it('is asked for without failing', async () => {
    const { code, out } = await callCli(['run', '--help']);
    expect(code).toBe(0);
    expect(out).toContain('Usage: assay run');
  });

  it('names the command that was probably meant', async () => {
    const { code, notes } = await callCli(['rnu']);
    expect(code).toBe(1);
    expect(notes).toMatch(/unknown command 'rnu'[\s\S]*Did you mean run/);
  });

  it('names the option that was probably meant', async () => {
    const { code, notes } = await callCli(['run', '--experimnt', 'x']);
    expect(code).toBe(1);
    expect(notes).toMatch(/Did you mean --experiment/);
  });

  it('has the version of the package', async () => {
    expect((await callCli(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
