// The query process: one unit of work for one caller, then its end. What users wrote is parsed and run only here, so
// that a crash, a runaway query or a hostile file takes nothing else along.
import { writeFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { DomainError, type ErrorCode } from '#core/errors.ts';
import { compareRows } from './compare-rows.ts';
import { ingest } from './ingest.ts';
import { inspect, readFunctionRules } from './inspect.ts';
import { materialise, rewrite } from './materialise.ts';
import type { EngineReply, EngineRequest, SandboxLimits } from './operations.ts';
import { convert, preview } from './read.ts';
import { openSandbox, prepareSandbox } from './sandbox.ts';

// When the machine runs out of memory, a query is the first to go.
if (process.platform === 'linux') writeFileSync('/proc/self/oom_score_adj', '1000');

let limits: SandboxLimits | undefined;
/** Opened while nobody waits: this process may have been started ahead of time. */
const guard = openGuard();

process.on('message', (request: EngineRequest) => {
  void reply(request).then((message) => process.send?.(message));
});
// The parent is gone, and with it everyone who could want the answer.
process.on('disconnect', () => process.exit(0));

async function reply(request: EngineRequest): Promise<EngineReply> {
  try {
    if (request.kind === 'call') return { kind: 'answer', answer: await run(request, requireOpen()) };
    limits = request.limits;
    return { kind: 'answer', answer: null };
  } catch (error) {
    return describeFailure(error, request);
  }
}

function requireOpen(): SandboxLimits {
  if (limits === undefined) throw new Error('the query process was asked before it was given its limits');
  return limits;
}

async function run(request: Extract<EngineRequest, { kind: 'call' }>, within: SandboxLimits): Promise<unknown> {
  switch (request.name) {
    case 'inspect':
      return (await guard)(request.args.query);
    case 'materialise':
      return materialise(within, await (await guard)(request.args.query), request.args);
    case 'ingest':
      return ingest(within, request.args);
    case 'preview':
      return preview(within, request.args);
    case 'rewrite':
      return rewrite(within, request.args);
    case 'compareRows':
      return compareRows(within, request.args);
    case 'convert':
      return convert(within, request.args);
  }
}

/** Parses and judges queries; it can read nothing. */
async function openGuard() {
  const connection = await openSandbox(
    { threads: 1, memoryMib: 256, directory: '/nonexistent', directoryBytesMax: 0 },
    [],
  );
  const rules = await readFunctionRules(connection);
  prepareSandbox();
  // This process is killed, never ended, so it says itself when its compiled code is worth keeping.
  flushCompileCache();
  return (query: string) => inspect(connection, rules, { query });
}

function describeFailure(error: unknown, request: EngineRequest): EngineReply {
  if (error instanceof DomainError) {
    const details = error.details.map(({ path, message }) => ({ path, message }));
    return { kind: 'refused', code: error.code, message: error.message, details };
  }
  const message = error instanceof Error ? error.message : String(error);
  const reply = classify(message);
  const files = request.kind === 'call' ? givenFiles(request) : [];
  const ofTheFile = reply === null ? damage.test(message) : reply.kind === 'refused' && reply.code === 'query-refused';
  if (files.length > 0 && ofTheFile) return unreadable(message, files);
  return reply ?? { kind: 'failed', message };
}

/** Files that somebody gave us, which may be damaged; the other operations read only what we wrote. */
function givenFiles(request: Extract<EngineRequest, { kind: 'call' }>): string[] {
  if (request.name === 'ingest') return [request.args.file];
  return request.name === 'compareRows' ? [request.args.before.file, request.args.after.file] : [];
}

/** Classes that mean a fault of the engine or the disk elsewhere, and a damaged file where one is read. */
const damage = /^(?:Invalid|Serialization|INTERNAL|IO) Error: (?![^]*(?:No space left|Could not write|Cannot open))/;

/** What DuckDB says about a file, without our SQL, our name for the file and advice that only its own users can follow. */
function unreadable(message: string, files: readonly string[]): EngineReply {
  const text = withoutOurSql(message)
    .replace(/^[A-Z][A-Za-z ]*Error: /, '')
    .replace(/\s*LINE \d+:[^]*$/, '')
    .replace(/\s*(Possible (fixes|Solution)|Try (setting|auto)|This type was either|\n {2}file = )[^]*$/, '');
  const named = files.reduce((said, file) => said.replaceAll(`"${file}"`, '').replaceAll(file, 'the file'), text);
  return refused('invalid-request', `The file can not be read: ${named.trim().slice(0, 1000)}`);
}

/** DuckDB shows the statement with the error: what we made of the query, and where we told it to write. */
function withoutOurSql(message: string): string {
  return message.replace(/\s*LINE \d+:[^]*$/, '');
}

/** DuckDB's errors begin with their class. What the text of a query or file can cause is a refusal. */
function classify(message: string): EngineReply | null {
  const [, kind = ''] = /^([A-Z][A-Za-z -]+?)(?: Error| Exception)?: /.exec(message) ?? [];
  const text = withoutOurSql(message).replaceAll(/\n+/g, '\n').trim();
  if (kind === 'Out of Memory' || kind === 'Interrupt') {
    return refused('query-limit', `The query needs more memory or space than it may use. ${text.split('\n')[0] ?? ''}`);
  }
  if (kind === 'Permission') {
    return refused('query-refused', `A query reads tables of the lake only, never files or the network. ${text}`);
  }
  const ofTheText = [
    'Binder',
    'Catalog',
    'Parser',
    'Syntax',
    'Conversion',
    'Invalid Input',
    'Invalid Type',
    'Mismatch Type',
    'Out of Range',
    'Constraint',
    'Not implemented',
    'Type',
    'Expression',
    'Divide by Zero',
    'Sequence',
    'Parameter',
  ];
  return ofTheText.includes(kind) ? refused('query-refused', text) : null;
}

function refused(code: ErrorCode, message: string): EngineReply {
  return { kind: 'refused', code, message, details: [] };
}
