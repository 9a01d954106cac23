// The typed client of the HTTP API, one group per noun. Every call rejects with ApiError or UnreachableError.
import type { Readiness } from '#contract/health.ts';
import type { BodyInput, QueryInput } from '#contract/route.ts';
import { routes } from '#contract/routes.ts';
import { UnreachableError } from './api-error.ts';
import { type Bytes, type CallInput, type ClientOptions, createTransport, type Transport } from './transport.ts';
import { type FollowOptions, followLogs, watchRun } from './watch.ts';

export type Client = ReturnType<typeof createClient>;

/** Options of calls that create: a key makes the call safe to repeat. */
interface Create {
  idempotencyKey?: string;
}

/** Headers for a partial or conditional download. */
interface Download {
  /** First byte wanted; the rest of the file follows. */
  fromByte?: number;
  signal?: AbortSignal;
}

export function createClient(options: ClientOptions) {
  const transport = createTransport(options);
  return {
    me: () => transport.call(routes.getMe),
    /** Which parts of the server answer; needs no token. */
    ready: () => readReadiness(options),
    projects: projectCalls(transport),
    code: codeCalls(transport),
    runs: runCalls(transport),
    logs: logCalls(transport),
    artifacts: artifactCalls(transport),
    models: modelCalls(transport),
    lake: lakeCalls(transport),
    datasets: datasetCalls(transport),
    blobs: blobCalls(transport),
    schedules: scheduleCalls(transport),
    secrets: secretCalls(transport),
    hooks: hookCalls(transport),
    tokens: tokenCalls(transport),
    nodes: nodeCalls(transport),
    pools: { list: () => transport.call(routes.listPools) },
    quotas: quotaCalls(transport),
    keys: { list: () => transport.call(routes.listKeys) },
  };
}

/** Walks all pages of a list call, for example `everyPage((cursor) => client.runs.list({ cursor }))`. */
export async function* everyPage<T>(
  fetchPage: (cursor: string | undefined) => Promise<{ items: T[]; nextCursor: string | null }>,
): AsyncGenerator<T> {
  let cursor: string | undefined;
  do {
    const page = await fetchPage(cursor);
    yield* page.items;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

/** 503 still carries the states of the parts. */
async function readReadiness(options: ClientOptions): Promise<Readiness> {
  const response = await (options.fetch ?? fetch)(new URL('/ready', options.url)).catch((error: unknown) => {
    throw new UnreachableError(options.url, error);
  });
  return (await response.json()) as Readiness;
}

function projectCalls({ call }: Transport) {
  return {
    list: (query: QueryInput<typeof routes.listProjects> = {}) => call(routes.listProjects, { query }),
    get: (project: string) => call(routes.getProject, { params: { project } }),
    create: (body: BodyInput<typeof routes.createProject>, options: Create = {}) =>
      call(routes.createProject, { body, ...options }),
    change: (project: string, body: BodyInput<typeof routes.changeProject>) =>
      call(routes.changeProject, { params: { project }, body }),
  };
}

function codeCalls({ call }: Transport) {
  return {
    /** Which of these commits the server already has. */
    negotiate: (project: string, commits: string[]) =>
      call(routes.negotiateCode, { params: { project }, body: { commits } }),
    sendBundle: (project: string, commit: string, bytes: Bytes) =>
      call(routes.sendBundle, { params: { project }, query: { commit }, bytes }),
  };
}

function runCalls(transport: Transport) {
  const { call, open } = transport;
  return {
    submit: (project: string, body: BodyInput<typeof routes.submitRun>, options: Create = {}) =>
      call(routes.submitRun, { params: { project }, body, ...options }),
    list: (query: QueryInput<typeof routes.listRuns> = {}) => call(routes.listRuns, { query }),
    get: (run: string) => call(routes.getRun, { params: { run } }),
    change: (run: string, body: BodyInput<typeof routes.changeRun>) =>
      call(routes.changeRun, { params: { run }, body }),
    cancel: (run: string) => call(routes.cancelRun, { params: { run } }),
    resume: (run: string, body: BodyInput<typeof routes.resumeRun> = {}, options: Create = {}) =>
      call(routes.resumeRun, { params: { run }, body, ...options }),
    reproduce: (run: string, body: BodyInput<typeof routes.reproduceRun> = {}, options: Create = {}) =>
      call(routes.reproduceRun, { params: { run }, body, ...options }),
    verdicts: (run: string) => call(routes.listVerdicts, { params: { run } }),
    resolve: (run: string, action: 'retry' | 'abort') => call(routes.resolveRun, { params: { run }, body: { action } }),
    watch: (run: string, options: FollowOptions = {}) => watchRun(transport, run, options),
    metrics: (run: string) => call(routes.listMetrics, { params: { run } }),
    data: (run: string) => call(routes.listRunData, { params: { run } }),
    /** The rows of a query in the asked format, or the JSON file list of a dataset. */
    openData: (run: string, name: string, format?: 'parquet' | 'csv' | 'jsonl') =>
      open(routes.getRunData, { params: { run, name }, query: { format } }),
    /** From `with` to the run. */
    diff: (run: string, query: QueryInput<typeof routes.diffRuns> = {}) =>
      call(routes.diffRuns, { params: { run }, query }),
    explain: (run: string, query: QueryInput<typeof routes.explainRun> = {}) =>
      call(routes.explainRun, { params: { run }, query }),
    openManifest: (run: string) => open(routes.getRunManifest, { params: { run } }),
    /** A DSSE envelope. */
    openStatement: (run: string) => open(routes.getRunStatement, { params: { run } }),
    /** A tar archive; from a byte on, as long as it is still the one with this ETag. */
    openBundle: (
      run: string,
      query: QueryInput<typeof routes.getRunBundle> = {},
      goOn: { fromByte: number; etag: string } | null = null,
    ) => {
      const headers: Record<string, string> =
        goOn === null ? {} : { range: `bytes=${goOn.fromByte}-`, 'if-range': goOn.etag };
      return open(routes.getRunBundle, { params: { run }, query, headers });
    },
    openLock: (run: string) => open(routes.getRunLock, { params: { run } }),
    /** A tar archive of the commit's tree. */
    openSource: (run: string) => open(routes.getRunSource, { params: { run } }),
    openPatch: (run: string) => open(routes.getRunPatch, { params: { run } }),
  };
}

function logCalls(transport: Transport) {
  return {
    /** Text; a negative `from` takes the last bytes. */
    open: (run: string, query: QueryInput<typeof routes.readLogs> = {}, input: CallInput = {}) =>
      transport.open(routes.readLogs, { ...input, params: { run }, query }),
    follow: (run: string, options: FollowOptions & { step?: string; attempt?: number } = {}) =>
      followLogs(transport, run, options),
  };
}

function artifactCalls({ call, open }: Transport) {
  return {
    list: (run: string, query: QueryInput<typeof routes.listArtifacts> = {}) =>
      call(routes.listArtifacts, { params: { run }, query }),
    open: (run: string, path: string, query: QueryInput<typeof routes.getArtifact> = {}, download: Download = {}) =>
      open(routes.getArtifact, { params: { run, '*': path }, query, ...downloadInput(download) }),
  };
}

function modelCalls({ call, open }: Transport) {
  return {
    list: (query: QueryInput<typeof routes.listModels> = {}) => call(routes.listModels, { query }),
    get: (model: string) => call(routes.getModel, { params: { model } }),
    versions: (model: string, query: QueryInput<typeof routes.listVersions> = {}) =>
      call(routes.listVersions, { params: { model }, query }),
    version: (model: string, version: number) => call(routes.getVersion, { params: { model, version } }),
    files: (model: string, version: number) => call(routes.listVersionFiles, { params: { model, version } }),
    openFile: (model: string, version: number, path: string, download: Download = {}) =>
      open(routes.getVersionFile, { params: { model, version, '*': path }, ...downloadInput(download) }),
    promote: (model: string, body: BodyInput<typeof routes.promote>, options: Create = {}) =>
      call(routes.promote, { params: { model }, body, ...options }),
    champion: (model: string, alias = 'production') =>
      call(routes.getChampion, { params: { model }, query: { alias } }),
    promotions: (model: string, query: QueryInput<typeof routes.listPromotions> = {}) =>
      call(routes.listPromotions, { params: { model }, query }),
  };
}

function lakeCalls({ call, open }: Transport) {
  return {
    tables: (query: QueryInput<typeof routes.listTables> = {}) => call(routes.listTables, { query }),
    table: (table: string) => call(routes.getTable, { params: { table } }),
    append: (table: string, format: 'csv' | 'jsonl' | 'parquet', bytes: Bytes, options: Create = {}) =>
      call(routes.appendSegment, { params: { table }, query: { format }, bytes, ...options }),
    preview: (table: string, query: QueryInput<typeof routes.previewTable> = {}) =>
      call(routes.previewTable, { params: { table }, query }),
    query: (body: BodyInput<typeof routes.query>) => call(routes.query, { body }),
    /** Whether a query would be accepted, without running it. */
    check: (query: string) => call(routes.checkQuery, { body: { query } }),
    snapshot: (id: string) => call(routes.getSnapshot, { params: { id } }),
    openSnapshot: (id: string, format: 'parquet' | 'csv' | 'jsonl' = 'parquet') =>
      open(routes.getSnapshotContent, { params: { id }, query: { format } }),
  };
}

function datasetCalls({ call, open }: Transport) {
  return {
    list: (query: QueryInput<typeof routes.listDatasets> = {}) => call(routes.listDatasets, { query }),
    get: (dataset: string) => call(routes.getDataset, { params: { dataset } }),
    files: (dataset: string, version: number) => call(routes.listDatasetFiles, { params: { dataset, version } }),
    openFile: (dataset: string, version: number, path: string, download: Download = {}) =>
      open(routes.getDatasetFile, { params: { dataset, version, '*': path }, ...downloadInput(download) }),
    /** Every blob must have been sent before; see `blobs`. */
    addVersion: (dataset: string, body: BodyInput<typeof routes.addDatasetVersion>, options: Create = {}) =>
      call(routes.addDatasetVersion, { params: { dataset }, body, ...options }),
  };
}

function blobCalls({ call }: Transport) {
  return {
    missing: (sha256: string[]) => call(routes.listMissingBlobs, { body: { sha256 } }),
    put: (sha256: string, bytes: Bytes) => call(routes.putBlob, { params: { sha256 }, bytes }),
  };
}

function scheduleCalls({ call }: Transport) {
  const of = (project: string, schedule: string) => ({ params: { project, schedule } });
  return {
    list: (project: string, query: QueryInput<typeof routes.listSchedules> = {}) =>
      call(routes.listSchedules, { params: { project }, query }),
    get: (project: string, schedule: string) => call(routes.getSchedule, of(project, schedule)),
    create: (project: string, body: BodyInput<typeof routes.createSchedule>, options: Create = {}) =>
      call(routes.createSchedule, { params: { project }, body, ...options }),
    change: (project: string, schedule: string, body: BodyInput<typeof routes.changeSchedule>) =>
      call(routes.changeSchedule, { ...of(project, schedule), body }),
    pause: (project: string, schedule: string, note: string | null = null) =>
      call(routes.pauseSchedule, { ...of(project, schedule), body: { note } }),
    resume: (project: string, schedule: string) => call(routes.resumeSchedule, of(project, schedule)),
    trigger: (project: string, schedule: string, options: Create = {}) =>
      call(routes.triggerSchedule, { ...of(project, schedule), ...options }),
    /** The times of a range, with what became of them. */
    times: (project: string, schedule: string, query: QueryInput<typeof routes.listScheduleTimes>) =>
      call(routes.listScheduleTimes, { ...of(project, schedule), query }),
    backfill: (project: string, schedule: string, body: BodyInput<typeof routes.backfillSchedule>) =>
      call(routes.backfillSchedule, { ...of(project, schedule), body }),
    ticks: (project: string, schedule: string, query: QueryInput<typeof routes.listScheduleTicks> = {}) =>
      call(routes.listScheduleTicks, { ...of(project, schedule), query }),
    delete: (project: string, schedule: string) => call(routes.deleteSchedule, of(project, schedule)),
  };
}

function secretCalls({ call }: Transport) {
  return {
    list: (project: string) => call(routes.listSecrets, { params: { project } }),
    set: (project: string, name: string, value: string) =>
      call(routes.setSecret, { params: { project, name }, body: { value } }),
    delete: (project: string, name: string) => call(routes.deleteSecret, { params: { project, name } }),
  };
}

function hookCalls({ call }: Transport) {
  return {
    create: (project: string, options: Create = {}) => call(routes.createHook, { params: { project }, ...options }),
    get: (project: string) => call(routes.getHook, { params: { project } }),
    rotate: (project: string, options: Create = {}) => call(routes.rotateHook, { params: { project }, ...options }),
    delete: (project: string) => call(routes.deleteHook, { params: { project } }),
    deliveries: (project: string, query: QueryInput<typeof routes.listDeliveries> = {}) =>
      call(routes.listDeliveries, { params: { project }, query }),
  };
}

function tokenCalls({ call }: Transport) {
  return {
    list: (query: QueryInput<typeof routes.listTokens> = {}) => call(routes.listTokens, { query }),
    issue: (body: BodyInput<typeof routes.issueToken>, options: Create = {}) =>
      call(routes.issueToken, { body, ...options }),
    revoke: (id: string) => call(routes.revokeToken, { params: { id } }),
  };
}

function nodeCalls({ call }: Transport) {
  return {
    list: (query: QueryInput<typeof routes.listNodes> = {}) => call(routes.listNodes, { query }),
    drain: (node: string, body: BodyInput<typeof routes.drainNode> = {}) =>
      call(routes.drainNode, { params: { node }, body }),
    resume: (node: string) => call(routes.resumeNode, { params: { node } }),
  };
}

function quotaCalls({ call }: Transport) {
  return {
    list: () => call(routes.listQuotas),
    set: (kind: 'project' | 'user', name: string, body: BodyInput<typeof routes.setQuota>) =>
      call(routes.setQuota, { params: { kind, name }, body }),
    remove: (kind: 'project' | 'user', name: string) => call(routes.removeQuota, { params: { kind, name } }),
  };
}

function downloadInput({ fromByte, signal }: Download): { headers?: Record<string, string>; signal?: AbortSignal } {
  return {
    ...(fromByte === undefined ? {} : { headers: { range: `bytes=${fromByte}-` } }),
    ...(signal === undefined ? {} : { signal }),
  };
}
