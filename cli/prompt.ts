// Reading what must not be shown: from a pipe as it is, from a keyboard without echo.
import type { Context } from './context.ts';
import { CliError, exitCodes } from './errors.ts';

/** The text without its final line break. @throws CliError when there is none. */
export async function readHidden(context: Context, question: string): Promise<string> {
  const text = context.stdin.isTTY ? await readKeys(context, question) : await readAll(context.stdin);
  const value = text.replace(/\r?\n$/, '');
  if (value === '') throw new CliError(`Nothing was given for ${question}; pipe it in or type it.`);
  return value;
}

/** Everything a pipe gives, as text. */
export async function readAll(stdin: NodeJS.ReadStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks).toString('utf8');
}

const enter = /[\r\n]/;
const interrupt = '\u0003';
const erase = /[\u007f\b]/;

async function readKeys({ stdin, terminal }: Context, question: string): Promise<string> {
  terminal.note(`${question} (not shown):`);
  stdin.setRawMode(true);
  let typed = '';
  try {
    for await (const chunk of stdin) {
      for (const key of String(chunk)) {
        if (key === interrupt) throw new CliError('Interrupted.', { exitCode: exitCodes.interrupted });
        if (enter.test(key)) return typed;
        typed = erase.test(key) ? typed.slice(0, -1) : typed + key;
      }
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
  }
}
