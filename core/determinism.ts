// What `deterministic: true` asks of the libraries, and what the stage's processes say became of it.

/** Values that a variable may have without undoing it; the first is the one that is set. */
const wantedVariables: Readonly<Record<string, readonly string[]>> = {
  // https://docs.nvidia.com/cuda/cublas/#results-reproducibility
  CUBLAS_WORKSPACE_CONFIG: [':4096:8', ':16:8'],
  TF_DETERMINISTIC_OPS: ['1', 'true'],
  TF_CUDNN_DETERMINISTIC: ['1', 'true'],
};

export const deterministicVariables: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(wantedVariables).map(([name, [value = '']]) => [name, value]),
);

/** Where a Python process of the stage writes what it has; the same file for all of them. */
const reportVariable = 'ASSAY_DETERMINISM_REPORT';

/** Python imports `sitecustomize` from the first folder that has one, so ours comes before the project's folders. */
export function hookVariables(
  variables: Readonly<Record<string, string>>,
  hook: { folder: string; report: string | null },
): Record<string, string> {
  const folders = [hook.folder, variables.PYTHONPATH].filter(Boolean).join(':');
  return { PYTHONPATH: folders, ...(hook.report === null ? {} : { [reportVariable]: hook.report }) };
}

/** A library as a process had it when it ended, or when it imported the library if it never came to an end. */
export interface LibraryState {
  library: 'torch' | 'tensorflow';
  version: string;
  deterministic: boolean;
  /** Torch: operations that are not deterministic warn where they would fail. */
  warnOnly: boolean;
  /** Torch: cuDNN picks by timing. */
  cudnnBenchmark: boolean;
  /** Torch: threads of one operation. */
  threads: number | null;
  /** Why it could not be asked or told. */
  error: string | null;
}

export interface Determinism {
  /** Whether all that was asked for was in force; null when no process said. */
  held: boolean | null;
  /** Python processes that said what they have. */
  processes: number;
  /** Distinct states over these processes. */
  libraries: LibraryState[];
  /** One sentence each about what was not as asked. */
  notes: string[];
}

interface ProcessState {
  pid: number;
  program: string;
  variables: Record<string, string>;
  libraries: LibraryState[];
}

const processesMax = 1_000;
const distinctMax = 16;
const textMax = 200;

/** @param report One JSON text per line, written by the stage's own processes, so nothing in it is taken for granted. */
export function readDeterminism(stage: string, report: string): Determinism {
  const states = new Map<number, ProcessState>();
  for (const line of report.split('\n').slice(0, processesMax)) {
    const state = readState(line);
    if (state !== null) states.set(state.pid, state);
  }
  const processes = [...states.values()];
  if (processes.length === 0) {
    const silent = `${stage} asks to be deterministic, and no Python process of it said what it had; only its variables are known.`;
    return { held: null, processes: 0, libraries: [], notes: [silent] };
  }
  const libraries = new Map(processes.flatMap((state) => state.libraries.map((one) => [JSON.stringify(one), one])));
  const notes = [...new Set(processes.flatMap(complaints))].slice(0, distinctMax);
  return {
    held: notes.length === 0,
    processes: processes.length,
    libraries: [...libraries.values()].slice(0, distinctMax),
    notes,
  };
}

function complaints({ program, variables, libraries }: ProcessState): string[] {
  return [
    ...Object.entries(wantedVariables)
      .filter(([name, allowed]) => !allowed.includes(variables[name] ?? ''))
      .map(([name, [wanted]]) => `${program} had ${name}=${variables[name] ?? ''}, not ${wanted}.`),
    ...libraries.flatMap((one) => libraryComplaints(program, one)),
  ];
}

function libraryComplaints(program: string, one: LibraryState): string[] {
  const name = `${program} (${one.library} ${one.version})`;
  if (one.error !== null) return [`${name} could not be made deterministic: ${one.error}`];
  if (!one.deterministic) return [`${name} ended with deterministic algorithms switched off.`];
  return [
    ...(one.warnOnly ? [`${name} ended with deterministic algorithms as a warning only.`] : []),
    ...(one.cudnnBenchmark ? [`${name} ended with cudnn.benchmark on, which picks algorithms by timing.`] : []),
  ];
}

function readState(line: string): ProcessState | null {
  const value = objectOf(parse(line));
  if (value === null || typeof value.pid !== 'number') return null;
  const libraries = (['torch', 'tensorflow'] as const).flatMap((library): LibraryState[] => {
    const found = objectOf(value[library]);
    if (found === null) return [];
    return [
      {
        library,
        version: textOf(found.version),
        deterministic: found.deterministic === true,
        warnOnly: found.warnOnly === true,
        cudnnBenchmark: found.cudnnBenchmark === true,
        threads: typeof found.threads === 'number' ? found.threads : null,
        error: typeof found.error === 'string' ? textOf(found.error) : null,
      },
    ];
  });
  const variables = Object.entries(objectOf(value.variables) ?? {}).map(([name, text]) => [name, textOf(text)]);
  return {
    pid: value.pid,
    program: textOf(value.program) || 'python',
    variables: Object.fromEntries(variables) as Record<string, string>,
    libraries,
  };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function objectOf(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, textMax) : '';
}
