import { randomUUID } from 'node:crypto';
import { type Command, Option } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';
import { provideCommit } from '#cli/project/provide-code.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatPlan } from '#cli/show/resume-plan.ts';
import { reportRun } from '#cli/show/run-line.ts';
import { waitForRun } from '#cli/wait.ts';
import { collect, parseAssignments } from '#cli/words/assignments.ts';
import type { ResumeRun } from '#contract/resume.ts';

interface ResumeOptions extends JsonOption {
  commit?: string;
  param?: string[];
  from?: string;
  plan?: boolean;
  wait?: boolean;
}

export function addResumeCommand(program: Command, context: Context): void {
  program
    .command('resume')
    .summary('let a closed run go on, reusing what would be the same')
    .description(
      'Says for each step whether it is reused or will run, and why; then lets the run go on. Unchanged, a failed or cancelled run goes on in a new execution. With another commit or parameter a new run takes it up, with the same as-of, seed and lock. A run that has succeeded is taken up by a new run, with a change or with --from.',
    )
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--commit <ref>', 'another commit, branch or tag, sent from this checkout if the server lacks it')
    .option('-P, --param <name=value>', 'another value of a parameter; may be repeated', collect)
    .addOption(new Option('-S <name=value>', 'the same').argParser(collect).hideHelp())
    .option('--from <stage>', 'run this stage and all that need it, although equal results are kept')
    .option('--plan', 'only say what would be reused and what would run')
    .option('--wait', "stay until it ends; the exit code is the gate's result")
    .option('--json', 'print what the API answers')
    .action((run: string, options: ResumeOptions & { S?: string[] }) =>
      resume(context, run, { ...options, param: [...(options.S ?? []), ...(options.param ?? [])] }),
    );
}

async function resume(context: Context, text: string, options: ResumeOptions): Promise<void> {
  const params = parseAssignments(options.param ?? []);
  const client = await connectClient(context);
  const reference = await parseRun(context, text);
  const code =
    options.commit === undefined
      ? {}
      : await provideCommit(context, client, (await client.runs.get(reference)).project, options.commit);
  const body: ResumeRun = {
    ...code,
    ...(Object.keys(params).length === 0 ? {} : { params }),
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.plan ? { plan: true } : {}),
  };
  const answer = await client.runs.resume(reference, body, { idempotencyKey: randomUUID() });
  const { plan, run } = answer;
  if (options.json && !options.wait) return context.terminal.write(formatJson(answer));
  if (plan !== null && !options.json) context.terminal.write(formatPlan(context.terminal, plan));
  if (run === null) return;
  if (options.wait) process.exitCode = await waitForRun(context, client, run.label, options);
  else reportRun(context, run, {}, plan?.as === 'run' ? `takes up ${plan.run}` : 'is queued again');
}
