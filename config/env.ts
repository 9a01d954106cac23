// The one place that reads the environment. Step 1 of three: env (what was given) → config (what it means) → secrets.
import { isIPv4 } from 'node:net';
import { z } from 'zod';

/** Everything that is wrong with the configuration, one sentence each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration cannot be used:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

const text = z.string().min(1);
const port = wholeNumber(1, 65_535, 'a port number');

const variables = {
  /** Where Assay keeps everything. Default: ~/.assay. */
  ASSAY_HOME: text,
  /** Address the API listens on. Default: 127.0.0.1. */
  ASSAY_HOST: text,
  /** Port of the API. Default: 7410. */
  ASSAY_PORT: port,
  /** How people reach the API, where that differs from host and port. Used in links. */
  ASSAY_PUBLIC_URL: url('http:', 'https:'),
  /** PostgreSQL of your own, as the application's role. Default: the embedded one. */
  ASSAY_DATABASE_URL: url('postgres:', 'postgresql:'),
  /** The same database as the role that owns the tables; only what migrates it needs this. */
  ASSAY_DATABASE_OWNER_URL: url('postgres:', 'postgresql:'),
  /** host:port of a Temporal server of your own. Default: the embedded one. */
  ASSAY_TEMPORAL_ADDRESS: text.regex(/^[^:/\s]+:\d+$/, 'expected host:port, for example temporal.example.org:7233'),
  /** Namespace on that server. Default: assay. */
  ASSAY_TEMPORAL_NAMESPACE: text,
  /** Web UI of that server, for links. */
  ASSAY_TEMPORAL_UI_URL: url('http:', 'https:'),
  /** Port of the embedded Temporal's web UI. Default: chosen once and kept. */
  ASSAY_TEMPORAL_UI_PORT: port,
  /** The `temporal` program. Default: looked for on PATH and in Assay's cache. */
  ASSAY_TEMPORAL_BIN: text,
  /** The Python that guards the servers, supervises stages and makes environments. Default: one found on PATH. */
  ASSAY_PYTHON: text,
  /** Where blobs live: `disk` or `s3`. Default: disk. */
  ASSAY_STORAGE: oneOf(['disk', 's3']),
  /** Folder of the disk storage. Default: `blobs` in ASSAY_HOME. */
  ASSAY_STORAGE_PATH: text,
  /** Address of the S3 server. Default: AWS. */
  ASSAY_S3_ENDPOINT: url('http:', 'https:'),
  /** The same server as people reach it, for links to downloads. Default: the endpoint. */
  ASSAY_S3_PUBLIC_ENDPOINT: url('http:', 'https:'),
  /** Region of the bucket. Default, with an endpoint: us-east-1. */
  ASSAY_S3_REGION: text,
  /** The bucket, which exists already. */
  ASSAY_S3_BUCKET: text.regex(
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
    'expected the name of a bucket: 3 to 63 small letters, digits, dots and dashes',
  ),
  /** What the keys of all blobs begin with, for a bucket that holds other things too. Default: nothing. */
  ASSAY_S3_PREFIX: text.regex(
    /^(?!\.)[\w.-]{1,100}(?:\/(?!\.)[\w.-]{1,100}){0,4}$/,
    'expected names between slashes, for example team/assay',
  ),
  /** `yes` puts the bucket into the path of addresses, `no` into the host's name. Default: yes with an endpoint. */
  ASSAY_S3_PATH_STYLE: oneOf(['yes', 'no']),
  /** Key of an account that may use the bucket. Default: what the machine has (environment, profile, role). */
  ASSAY_S3_ACCESS_KEY_ID: text,
  /** The secret part of that key. */
  ASSAY_S3_SECRET_ACCESS_KEY: text,
  /** What runs stages: `process` or `docker`, the same for all workers. Default: process. */
  ASSAY_RUNNER: oneOf(['process', 'docker']),
  /** The Docker engine of this machine, as unix://PATH. Default: unix:///var/run/docker.sock. */
  ASSAY_DOCKER_HOST: text.regex(/^unix:\/\/\/\S+$/, 'expected unix:// and the absolute path of a socket'),
  /** The most that a stage in a container may have: `open`, `platform` or `none`. Default: open. */
  ASSAY_NETWORK_MAX: oneOf(['open', 'platform', 'none']),
  /** Private ranges that network `open` reaches all the same: ADDRESS/BITS, separated by commas. Default: none. */
  ASSAY_NETWORK_ALLOW: ranges(),
  /** Free space below which the largest stage of this machine is stopped, in MiB. Default: 1024, or 2 % of the disk if that is more. */
  ASSAY_DISK_RESERVE_MIB: wholeNumber(1, 1_073_741_824, 'a number of MiB'),
  /** Base image of projects that name none, with the runner `docker`; `{python}` is the minor version asked for. Default: python:{python}-slim-bookworm. */
  ASSAY_DOCKER_BASE: text.regex(
    /^[\w./:@{}-]+$/,
    'expected the name of an image, for example python:{python}-slim-bookworm',
  ),
  /** CPUs that one build of an environment or a Dockerfile may use. Default: half of this machine. */
  ASSAY_DOCKER_BUILD_CPUS: wholeNumber(1, 4096, 'a number of CPUs'),
  /** Memory in GiB that one such build may use. Default: half of this machine. */
  ASSAY_DOCKER_BUILD_MEMORY_GIB: wholeNumber(1, 65_536, 'a number of GiB'),
  /** `config.json` of the docker program, whose logins are used to pull base images. Default: pulled without a login. */
  ASSAY_DOCKER_LOGINS: text,
  /** `yes` lets projects name git remotes with private addresses. Default: no. */
  ASSAY_ALLOW_PRIVATE_REMOTES: oneOf(['yes', 'no']),
  /** Name of this machine's pool. Default: from what one slot offers, `cpu` or for example `h100.x1`. */
  ASSAY_POOL: text.regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'expected small letters, digits, dots and dashes'),
  /** Stages that may run here at once. Default: as many as fit; without accelerators the number of CPUs. */
  ASSAY_SLOTS: wholeNumber(1, 1024, 'a number of stages'),
  /** CPUs that one stage may ask for. Default: all of this machine, or its share where there are accelerators. */
  ASSAY_SLOT_CPUS: wholeNumber(1, 4096, 'a number of CPUs'),
  /** Memory in GiB that one stage may ask for. Default: the same. */
  ASSAY_SLOT_MEMORY_GIB: wholeNumber(1, 65_536, 'a number of GiB'),
  /** Accelerators of one slot. Default: 1 where there are any. */
  ASSAY_SLOT_GPUS: wholeNumber(0, 1024, 'a number of accelerators'),
  /** Ids of the accelerators to hand out, for example 0,1. Default: what nvidia-smi lists. */
  ASSAY_DEVICES: text.regex(
    /^[A-Za-z0-9][A-Za-z0-9._/:-]*(,[A-Za-z0-9][A-Za-z0-9._/:-]*){0,1023}$/,
    'expected ids separated by commas, for example 0,1',
  ),
  /** Kind of the accelerators, for example h100. Default: what nvidia-smi says, else gpu. */
  ASSAY_ACCELERATOR: text.regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected small letters, digits and dashes'),
  /** Most bytes of output kept per attempt of a stage, in MiB. Default: 256. */
  ASSAY_LOG_MAX_MIB: wholeNumber(1, 1_048_576, 'a number of MiB'),
  /** Key that seals the secrets of projects: 32 bytes in base64, the same for all processes. Default: `secret.key` in ASSAY_HOME. */
  ASSAY_SECRET_KEY: text,
  /** File of the private key that signs statements about runs, read by control workers alone. Default: `signing.key` in ASSAY_HOME. */
  ASSAY_SIGNING_KEY_FILE: text,
  /** Port on which a worker answers GET /health. Default: none. */
  ASSAY_HEALTH_PORT: port,
  /** Python package index that environments are installed from. Default: PyPI. */
  ASSAY_INDEX_URL: url('http:', 'https:'),
  /** PEM file with further certificate authorities to trust while installing and fetching, and of the S3 server. */
  ASSAY_EXTRA_CA: text,
} as const;

/** Every variable that the programs read. */
export const variableNames = Object.keys(variables) as ReadonlyArray<keyof typeof variables>;

const environmentSchema = z.object(variables).partial();

export type Environment = z.infer<typeof environmentSchema> & {
  /** What the installing processes inherit: where programs are, proxies, certificates, compilers, and the settings of pip and uv. */
  installing: Readonly<Record<string, string>>;
};

const passedToInstallers =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|https?_proxy|no_proxy|all_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|GIT_SSL_CAINFO|SSH_AUTH_SOCK|NETRC|CC|CXX|(C|CXX|LD)FLAGS|CUDA_HOME|MACOSX_DEPLOYMENT_TARGET|(PIP|UV)_\w+)$/i;

/** @throws ConfigError with every variable that cannot be understood. An empty variable counts as not given. */
export function readEnvironment(given: NodeJS.ProcessEnv = process.env): Environment {
  const present = Object.entries(given).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const parsed = environmentSchema.safeParse(Object.fromEntries(present));
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => describe(issue, given)));
  }
  return {
    ...parsed.data,
    installing: Object.fromEntries(present.filter(([name]) => passedToInstallers.test(name))),
  };
}

function describe(issue: z.core.$ZodIssue, given: NodeJS.ProcessEnv): string {
  const name = String(issue.path[0]);
  // What may be or hold a password must not end up in a log.
  const shown = /_URL$|_KEY$|_SECRET|_PASSWORD/.test(name) ? '' : ` is "${given[name]}"`;
  return `${name}${shown}: ${issue.message}`;
}

function wholeNumber(min: number, max: number, what: string) {
  const message = `expected ${what} from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d+$/, message)
    .transform(Number)
    .pipe(z.number(message).min(min, message).max(max, message));
}

function url(...protocols: string[]) {
  const isUrl = (value: string) => URL.canParse(value) && protocols.includes(new URL(value).protocol);
  return z
    .string()
    .refine(isUrl, `expected an address that starts with ${protocols.map((p) => `${p}//`).join(' or ')}`);
}

function ranges() {
  const isRange = (value: string) => {
    const [address = '', bits = '', ...more] = value.split('/');
    return isIPv4(address) && /^\d{1,2}$/.test(bits) && Number(bits) <= 32 && more.length === 0;
  };
  return z
    .string()
    .transform((value) => value.split(',').map((range) => range.trim()))
    .refine((list) => list.every(isRange), 'expected ranges such as 10.20.0.0/16, separated by commas');
}

function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, `this build knows only ${values.map((value) => `"${value}"`).join(' and ')}`);
}
