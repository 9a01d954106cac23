// Whom a stage's failure is to be blamed on, in one plain sentence.
import { formatDuration } from './quantities.ts';
import type { Failure, FailureClass } from './run.ts';

/** How a launch ended, as the runner saw it. */
export interface StageExit {
  stage: string;
  /** Null when a signal ended it or nobody saw the end. */
  code: number | null;
  /** For example `SIGKILL`; null when it exited by itself. */
  signal: string | null;
  /** The runner or the kernel stopped it for its memory. */
  outOfMemory: boolean;
  /** Null when there was no limit. */
  memoryLimitBytes: number | null;
  peakMemoryBytes: number | null;
  /** It was stopped because its time was over. */
  timedOut: boolean;
  timeoutMs: number | null;
  /** It could not be started; the system's words. */
  startError: string | null;
  /** The process is gone and left no record of its end. */
  vanished: boolean;
  /** Declared outputs it did not write although it exited 0. */
  missingOutputs: readonly string[];
  /** Newest last. */
  logTail: readonly string[];
}

const logTailMax = 20;

/** Null for a success. Only `infrastructure` is not the stage's own failure. */
export function failureOf(exit: StageExit): Failure | null {
  const cause = causeOf(exit);
  if (cause === null) return null;
  return {
    class: cause.class,
    sentence: cause.sentence,
    step: exit.stage,
    logTail: exit.logTail.slice(-logTailMax),
    exitCode: exit.code,
  };
}

interface Cause {
  class: FailureClass;
  sentence: string;
}

function causeOf(exit: StageExit): Cause | null {
  if (exit.vanished)
    return {
      class: 'infrastructure',
      sentence: `${exit.stage} disappeared with its node or process; nobody saw how it ended.`,
    };
  if (exit.timedOut) return { class: 'timeout', sentence: timeoutSentence(exit) };
  if (exit.outOfMemory) return { class: 'resources', sentence: memorySentence(exit) };
  if (exit.startError !== null)
    return { class: 'user', sentence: `${exit.stage} could not be started: ${exit.startError}.` };
  if (exit.code === 0) return missingOutputs(exit);
  return causeInLog(exit) ?? { class: 'user', sentence: plainExit(exit) };
}

function timeoutSentence(exit: StageExit): string {
  const limit = exit.timeoutMs === null ? '' : ` of ${formatDuration(exit.timeoutMs)}`;
  return `${exit.stage} was stopped because it ran longer than its timeout${limit}.`;
}

function memorySentence(exit: StageExit): string {
  const limit =
    exit.memoryLimitBytes === null
      ? 'more memory than the node has'
      : `more than its ${gib(exit.memoryLimitBytes)} of memory`;
  const peak = exit.peakMemoryBytes === null ? '' : ` (${gib(exit.peakMemoryBytes)} at the peak)`;
  return `${exit.stage} was stopped because it used ${limit}${peak}; raise resources.memory or use less.`;
}

function missingOutputs(exit: StageExit): Cause | null {
  if (exit.missingOutputs.length === 0) return null;
  return {
    class: 'user',
    sentence: `${exit.stage} exited 0 but did not write ${exit.missingOutputs.join(', ')}, which its outputs promise.`,
  };
}

// Exit codes say little; what the code printed last says more. The first pattern that any late line matches decides.
const logCauses: readonly {
  pattern: RegExp;
  class: FailureClass;
  sentence: (stage: string, match: RegExpExecArray) => string;
}[] = [
  {
    pattern: /CUDA out of memory|CUDA error: out of memory|OutOfMemoryError: (?:CUDA|HIP)|CUBLAS_STATUS_ALLOC_FAILED/,
    class: 'resources',
    sentence: (stage) => `${stage} ran out of GPU memory; a smaller batch or a larger GPU helps.`,
  },
  {
    pattern: /No space left on device|Errno 28\b|Disk quota exceeded/,
    class: 'resources',
    sentence: (stage) => `${stage} failed because the disk of its node is full.`,
  },
  {
    pattern: /CUDA error|NCCL (?:error|WARN.*error)|no CUDA-capable device|CUDA driver version is insufficient/i,
    class: 'resources',
    sentence: (stage) => `${stage} failed on its GPU; the last log lines have CUDA's words.`,
  },
  {
    pattern: /^\s*(?:numpy\S*)?MemoryError\b|std::bad_alloc|Cannot allocate memory/,
    class: 'resources',
    sentence: (stage) => `${stage} could not get the memory it asked for; raise resources.memory or use less.`,
  },
  {
    pattern: /\b(lib[\w.+-]+\.so[\d.]*): cannot open shared object file/,
    class: 'environment',
    sentence: (stage, match) =>
      `${stage} needs the system library ${match[1]}, which its image or machine does not have; install it there, for example in a dockerfile:.`,
  },
  {
    pattern: /(?:^|[\s'"])python['"]?: (?:command )?(?:not found|No such file or directory)/,
    class: 'user',
    sentence: (stage) =>
      `${stage} calls python, and its image has none by that name; call python3, add a requirement file (its environment has python), or choose another image.`,
  },
  {
    pattern: /(?:ModuleNotFoundError|ImportError): No module named ['"]?([\w.]+)/,
    class: 'user',
    sentence: (stage, match) =>
      `${stage} imports ${match[1]}, which its environment does not have; add the package that provides it to the requirement file.`,
  },
];

function causeInLog(exit: StageExit): Cause | null {
  for (const { pattern, class: failureClass, sentence } of logCauses) {
    const match = firstMatch(pattern, exit.logTail.slice(-logTailMax));
    if (match) return { class: failureClass, sentence: sentence(exit.stage, match) };
  }
  return null;
}

function firstMatch(pattern: RegExp, lines: readonly string[]): RegExpExecArray | null {
  for (const line of lines) {
    const match = pattern.exec(line);
    if (match) return match;
  }
  return null;
}

function plainExit(exit: StageExit): string {
  if (exit.signal !== null) return `${exit.stage} was ended by ${exit.signal}.`;
  if (exit.code === 126) return `${exit.stage} has a command that is not executable (exit code 126).`;
  if (exit.code === 127) return `${exit.stage} has a command that was not found (exit code 127).`;
  return `${exit.stage} exited with code ${exit.code}.${lastWords(exit.logTail)}`;
}

// Python ends a traceback with the exception; that line alone often says it all.
function lastWords(logTail: readonly string[]): string {
  const line = logTail.findLast((text) => text.trim() !== '')?.trim() ?? '';
  return /^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b/.test(line)
    ? ` ${line.length > 200 ? `${line.slice(0, 200)}…` : line}`
    : '';
}

function gib(bytes: number): string {
  return `${Number((bytes / 2 ** 30).toPrecision(3))} GiB`;
}
