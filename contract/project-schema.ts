// assay.yaml as people write it. Each `error` is the words after "expected"; project-file.ts adds what was found.
import { cronHasDate, isCron } from '#core/cron.ts';
import { projectNamePattern, stageNamePattern } from '#core/names.ts';
import { parseAccelerators, parseCpus, parseDuration, parseMemoryGib } from '#core/quantities.ts';
import { stagesMax } from '#core/plan.ts';
import { catchUpSeconds, overlaps } from '#core/schedule.ts';
import { isTimeZone } from '#core/time-zone.ts';
import { z } from 'zod';

const day = 86_400_000;
const environmentName = /^[A-Za-z_][A-Za-z0-9_]*$/;

function text(what: string) {
  return z
    .string({ error: what })
    .min(1, { error: what })
    .max(4096, { error: `${what}, of at most 4096 characters` });
}

function listOf<T extends z.ZodType>(item: T, what: string, lengthMax = 256) {
  return z.array(item, { error: what }).max(lengthMax, { error: `${what}, at most ${lengthMax}` });
}

/** A path inside the repository or a stage's working directory; `.git` is nobody's business. */
function pathInside(what: string) {
  const expected = `${what}, relative and inside the repository`;
  return text(expected).refine(isPathInside, { error: expected });
}

export function isPathInside(path: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused here
  if (/[\\\u0000-\u001f]/.test(path) || /^(?:\/|~|[A-Za-z]:|file:)/.test(path)) return false;
  const parts = path.split('/');
  return !parts.includes('..') && parts.find((part) => part !== '.') !== '.git';
}

/** It is emptied and filled again, so it is never the whole tree. */
function isPlainFolder(path: string): boolean {
  return !/[*?[\]{}!]/.test(path) && path.split('/').some((part) => part !== '.' && part !== '');
}

function amount(what: string, isValid: (value: string | number) => boolean) {
  return z.union([z.string(), z.number()], { error: what }).refine(isValid, { error: what });
}

function duration(what: string, maxMs: number) {
  return amount(what, (value) => {
    const ms = parseDuration(value);
    return ms !== null && ms > 0 && ms <= maxMs;
  });
}

const command = z
  .union(
    [
      text('a command: a text for the shell, or a list of texts'),
      listOf(z.string({ error: 'a text; quote it' }), 'a list of texts').min(1, {
        error: 'a list of at least one text',
      }),
    ],
    {
      error: 'a command: a text for the shell, or a list of texts',
    },
  )
  .describe('A text is run by the shell; a list is run as it is.');

const environmentVariables = z
  .record(
    z.string().regex(environmentName, { error: 'the name of an environment variable: letters, digits and _' }),
    z.string({ error: 'a text; quote it' }).max(32_768, { error: 'a text of at most 32768 characters' }),
    { error: 'names with texts' },
  )
  .describe('Environment variables. Names beginning with ASSAY_ are set by Assay.');

const secretName = z
  .string({ error: 'the name of a secret: letters, digits and _' })
  .regex(environmentName, { error: 'the name of a secret: letters, digits and _' });

const secret = z.union(
  [secretName, z.strictObject({ name: secretName, as: z.enum(['variable', 'file'], { error: 'variable or file' }) })],
  { error: 'the name of a secret, or { name, as: file }' },
);

const secrets = listOf(secret, 'a list of names', 64);

const network = z.enum(['open', 'platform', 'none'], { error: 'open, platform or none' });

const resources = z.strictObject(
  {
    accelerators: amount('accelerators such as H100:1, gpu:2 or 1', (value) => parseAccelerators(value) !== undefined),
    cpus: amount('a number of CPU cores, such as 4', (value) => parseCpus(value) !== null),
    memory: amount('memory in GiB, such as 16, or 512MB', (value) => parseMemoryGib(value) !== null),
    nodes: z
      .int({ error: 'a whole number of nodes' })
      .min(1, { error: 'at least 1 node' })
      .max(1024, { error: 'at most 1024 nodes' }),
  },
  { error: 'a map of resources, such as { cpus: 4, memory: 16 }' },
);

const stageOptions = z
  .strictObject({
    needs: listOf(text('the name of a stage'), 'a list of stages', stagesMax).describe(
      'Stages whose outputs this one gets. Without it: the stage written before; [] for none.',
    ),
    resources: resources.partial(),
    pool: text('the name of a pool'),
    timeout: duration('a duration such as 2h, 90s or 1h30m, at most 30d', 30 * day),
    grace: duration('a duration such as 60s, at most 1h', day / 24),
    retries: z
      .int({ error: 'a whole number of retries' })
      .min(0, { error: '0 or more retries' })
      .max(20, { error: 'at most 20 retries' }),
    checkpoints: pathInside('a folder').refine(isPlainFolder, {
      error: 'a folder below the working directory, no glob',
    }),
    outputs: listOf(pathInside('a path'), 'a list of paths'),
    code: listOf(pathInside('a path or glob'), 'a list of paths'),
    params: listOf(text('the name of a parameter'), 'a list of parameter names'),
    env: environmentVariables,
    secrets,
    network,
    cache: z.boolean({ error: 'true or false' }),
    deterministic: z.boolean({ error: 'true or false' }),
  })
  .partial();

const stageSchema = z.strictObject(
  { command, ...stageOptions.shape },
  { error: 'a map with a command, such as { command: python train.py }' },
);

const stages = z.record(
  z.string().regex(stageNamePattern, {
    error: 'the name of a stage: a lower-case letter, then lower-case letters, digits, - and _, at most 40',
  }),
  stageSchema,
  { error: 'a map of stages' },
);

const dataSource = z.union(
  [
    z.strictObject({
      query: pathInside('the path of a .sql file').refine((path) => path.endsWith('.sql'), {
        error: 'the path of a .sql file in the repository',
      }),
      to: pathInside('a path').regex(/\.(parquet|csv|jsonl)$/, { error: 'a path ending in .parquet, .csv or .jsonl' }),
    }),
    z.strictObject({ dataset: text('the name of a dataset'), to: pathInside('a folder') }),
  ],
  { error: '{ query: FILE.sql, to: PATH } or { dataset: NAME, to: FOLDER }' },
);

const data = z.record(
  z.string().regex(/^[A-Za-z][\w-]{0,39}$/, { error: 'a name: a letter, then letters, digits, - and _' }),
  dataSource,
  { error: 'a map of names' },
);

const modelName = z
  .string({ error: 'a name: lower-case letters, digits, ., - and _' })
  .regex(projectNamePattern, { error: 'a name: lower-case letters, digits, ., - and _' });
const model = z.strictObject(
  { name: modelName, path: pathInside('a path') },
  { error: 'a model such as { name: digits, path: model/ }' },
);

const metricDeclaration = z.strictObject(
  {
    goal: z.enum(['max', 'min'], { error: 'max or min' }),
    from: text('the name of a stage'),
    use: z.enum(['last', 'best', 'min', 'max'], { error: 'last, best, min or max' }),
    tolerance: z.number({ error: 'a number' }).min(0, { error: 'a number of at least 0' }),
  },
  { error: 'a map such as { goal: max }' },
);

const metrics = z.strictObject(
  {
    files: listOf(pathInside('a path or glob'), 'a list of paths'),
    declare: z.record(z.string().min(1).max(250), metricDeclaration.partial(), { error: 'a map of metrics' }),
  },
  { error: 'a map with files or declare' },
);

const params = z.union(
  [
    pathInside('the path of a JSON or YAML file'),
    z
      .strictObject({
        file: pathInside('the path of a JSON or YAML file').regex(/\.(json|ya?ml)$/i, {
          error: 'the path of a .json, .yaml or .yml file',
        }),
        style: z.enum(['json', 'argv', 'env', 'hydra', 'template'], {
          error: 'json, argv, env, hydra or template',
        }),
        defaults: z.record(z.string(), z.json(), { error: 'names with values' }),
      })
      .partial(),
  ],
  { error: 'parameters such as { file: params.json, style: json }' },
);

const python = z
  .string({ error: 'a Python version such as "3.11"' })
  .regex(/^3(\.\d{1,2}){0,2}$/, { error: 'a Python version such as "3.11"' });

const image = z
  .string({ error: 'an image with its digest: NAME@sha256:…' })
  .regex(/^[\w./:-]+@sha256:[0-9a-f]{64}$/, { error: 'an image with its digest: NAME@sha256:…' });

const cron = text('a cron expression such as "0 3 * * *"')
  .refine(isCron, { error: 'a cron expression of five fields, such as "0 3 * * *"', abort: true })
  .refine(cronHasDate, { error: 'a date that some year has' });

const second = 1_000;
const scheduleMap = z
  .strictObject({
    cron,
    timezone: text('a time zone such as Europe/Berlin').refine(isTimeZone, {
      error: 'a time zone by its exact name, such as Europe/Berlin or UTC',
    }),
    overlap: z.enum(overlaps, { error: 'skip, allow or cancel-previous' }),
    catchup: amount('a duration such as 1h, from 1m to 7d', (value) => {
      const ms = parseDuration(value);
      return ms !== null && ms >= catchUpSeconds.min * second && ms <= catchUpSeconds.max * second;
    }),
    branch: text('the name of a branch').max(250, { error: 'the name of a branch' }),
  })
  .partial({ timezone: true, overlap: true, catchup: true, branch: true });

const schedule = z.union([cron, scheduleMap], {
  error: 'a cron expression, or a map such as { cron: "0 3 * * *", timezone: Europe/Berlin }',
});

/** What of `triggers` is read of a commit that was pushed. */
export const pushTriggers = {
  push: listOf(text('a branch or a glob of branches'), 'a list of branches'),
  paths: listOf(pathInside('a path, a folder or a glob'), 'a list of paths'),
};

const triggers = z.strictObject(
  {
    ...pushTriggers,
    schedule,
  },
  { error: 'a map with push, paths or schedule' },
);

const verify = z.strictObject(
  {
    predictions: pathInside('a path'),
    key: text('a column'),
    ignore: listOf(pathInside('a path or glob'), 'a list of paths'),
  },
  { error: 'a map with predictions, key or ignore' },
);

export const projectFileSchema = z
  .strictObject(
    {
      version: z.literal(1, { error: '1, the only version of this file so far' }),
      project: z
        .string({ error: 'a name: lower-case letters, digits, ., - and _' })
        .regex(projectNamePattern, { error: 'a name: lower-case letters, digits, ., - and _' }),
      python,
      image,
      dockerfile: pathInside('the path of a Dockerfile'),
      requirements: pathInside('the path of a requirement file'),
      params,
      seed: z
        .int({ error: 'a whole number' })
        .min(0, { error: 'a whole number from 0 to 4294967295' })
        .max(4_294_967_295, { error: 'a whole number from 0 to 4294967295' }),
      env: environmentVariables,
      secrets,
      data,
      stages,
      model: z.union([model, listOf(model, 'a list of models', 16)], {
        error: 'a model such as { name: digits, path: model/ }, or a list of them',
      }),
      metrics: metrics.partial(),
      gate: listOf(text('a rule such as "accuracy >= 0.95"'), 'a list of rules', 64),
      verify: verify.partial(),
      promote: z.enum(['when-passed', 'by-hand'], { error: 'when-passed or by-hand' }),
      network,
      triggers: triggers.partial(),
    },
    { error: 'a map of keys, such as stages and gate' },
  )
  .partial();

export type ProjectFile = z.output<typeof projectFileSchema>;
export type StageFile = z.output<typeof stageSchema>;

/** JSON Schema of assay.yaml, for editors. */
export function projectJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(projectFileSchema, { io: 'input' });
  return { ...schema, title: 'assay.yaml', description: 'What Assay is to do with this repository.' };
}
