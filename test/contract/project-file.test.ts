import { describe, expect, it } from 'vitest';
import { readProjectFile, type ProjectFileContext } from '#contract/project-file.ts';
import { formatProblem } from '#contract/project-problem.ts';
import { projectJsonSchema } from '#contract/project-schema.ts';
import type { ProjectConfig } from '#core/project.ts';

const whole = `project: digits
python: 3.10
requirements: requirements.txt
params: { file: input.json, style: json }
seed: 42
env: { TOKENIZERS_PARALLELISM: false, LEVEL: 0x10 }
secrets: [HF_TOKEN, { name: GCP_KEY, as: file }]
data:
  train: { query: data/train.sql, to: data/train.csv }
  pets:  { dataset: pets, to: data/pets/ }
stages:
  train:
    command: python train.py
    resources: { accelerators: H100:1, cpus: 4+, memory: 16GB }
    timeout: 2h
    retries: 2
    outputs: [./model/, history.json]
  evaluate: { command: [python, evaluate.py], needs: [train], secrets: [], network: none }
model: { name: digits, path: model/ }
metrics:
  files: [metrics.json]
  declare: { accuracy: { goal: max, from: evaluate, use: last, tolerance: 0.002 } }
gate: [ "accuracy >= 0.95", "loss <= 0.4", "accuracy >= champion - 0.005" ]
promote: when-passed
triggers: { push: [main], schedule: "0 3 * * *" }
`;

describe('a project file', () => {
  it('becomes a configuration with every default in its place', () => {
    const config = configOf(whole);
    expect(config).toMatchObject({
      project: 'digits',
      python: '3.10',
      params: { file: 'input.json', style: 'json', defaults: null },
      env: { TOKENIZERS_PARALLELISM: 'false', LEVEL: '0x10' },
      secrets: ['HF_TOKEN', 'GCP_KEY'],
      secretFiles: ['GCP_KEY'],
      models: [{ name: 'digits', path: 'model/' }],
      promote: 'when-passed',
      network: 'open',
    });
    expect(config.data).toEqual([
      { kind: 'query', name: 'train', query: 'data/train.sql', to: 'data/train.csv', format: 'csv' },
      { kind: 'dataset', name: 'pets', dataset: 'pets', to: 'data/pets' },
    ]);
    expect(config.stages[0]).toMatchObject({
      resources: { accelerators: { type: 'h100', count: 1 }, cpus: 4, memoryGib: 16, nodes: 1 },
      timeoutMs: 7_200_000,
      graceMs: 60_000,
      retries: 2,
      outputs: ['model/', 'history.json'],
      secrets: ['HF_TOKEN', 'GCP_KEY'],
    });
    expect(config.stages[1]).toMatchObject({
      command: ['python', 'evaluate.py'],
      secrets: [],
      network: 'none',
      params: null,
    });
  });

  it('may say next to nothing', () => {
    expect(configOf('project: x\nstages: { train: { command: python train.py } }').stages).toHaveLength(1);
    const detected = configOf(whole);
    expect(configOf('gate: ["a >= 1"]', { projectName: 'x', detected }).stages).toEqual(
      detected.stages.map((stage) => ({ ...stage, secrets: [] })),
    );
  });

  it('says which keys this server does not act on yet', () => {
    const text = `${whole.replace('retries: 2', 'retries: 2\n    checkpoints: ckpt').replace('memory: 16GB', 'memory: 16GB, nodes: 2')}verify: { key: id }\n`;
    const keys = configOf(text).notYet.map((sentence) => sentence.split(' ')[0]);
    expect(keys).toEqual(['stages.train.resources.nodes']);
  });

  it('reports every problem at once, each with its place', () => {
    const text = `projct: digits
seed: -1
data:
  train: { query: ../train.sql, to: data/train.xls }
stages:
  train:
    comand: python train.py
    timeout: 2 hours
  gate: { command: [python, 3] }
  a: { command: x, needs: [trian] }
  b: { command: x, needs: [c], outputs: [/etc/passwd] }
  c: { command: x, needs: [b] }
metrics: { declare: { accuracy: { from: evaluate, use: best } } }
gate: [ "accuracy => 0.95" ]
env: { ASSAY_X: 1 }
promote: when-passed
`;
    expect(problemsOf(text)).toEqual([
      'assay.yaml:1:1 projct: found the unknown key "projct"; expected a known key. Did you mean "project"?',
      'assay.yaml:2:7 seed: found -1; expected a whole number from 0 to 4294967295.',
      'assay.yaml:4:19 data.train.query: found "../train.sql"; expected the path of a .sql file, relative and inside the repository.',
      'assay.yaml:4:37 data.train.to: found "data/train.xls"; expected a path ending in .parquet, .csv or .jsonl.',
      'assay.yaml:7:5 stages.train.comand: found the unknown key "comand"; expected a known key. Did you mean "command"?',
      'assay.yaml:8:14 stages.train.timeout: found "2 hours"; expected a duration such as 2h, 90s or 1h30m, at most 30d.',
      'assay.yaml:9:3 stages.gate: found the stage name "gate"; expected another name, because Assay\'s own steps are resolve-commit, build-environment, load-data, persist, gate, promote, verdict.',
      'assay.yaml:9:29 stages.gate.command.1: found 3; expected a text; quote it.',
      'assay.yaml:10:28 stages.a.needs.0: found "trian"; expected one of train, gate, b, c. Did you mean "train"?',
      'assay.yaml:11:27 stages.b.needs: found the circle b → c → b; expected an order that ends.',
      'assay.yaml:11:42 stages.b.outputs.0: found "/etc/passwd"; expected a path, relative and inside the repository.',
      'assay.yaml:13:41 metrics.declare.accuracy.from: found "evaluate"; expected one of train, gate, a, b, c.',
      'assay.yaml:13:56 metrics.declare.accuracy.use: found "best" without a goal; expected goal: max or goal: min beside it.',
      'assay.yaml:14:9 gate.0: found "=>" at character 10 of "accuracy => 0.95"; expected one of >= <= > < == !=.',
      'assay.yaml:15:8 env.ASSAY_X: found the variable ASSAY_X; expected a name that does not begin with ASSAY_, because Assay sets those.',
      'assay.yaml:16:10 promote: found when-passed without a model; expected a model to promote.',
    ]);
  });

  it.each([
    ['a: [1\nb: 2', 2, /not valid YAML/],
    ['stages:\n\ttrain: x', 2, /found a tab in the indentation/],
    ['seed: 1\nseed: 2', 2, /same key twice/],
    ['seed: 1\n---\nseed: 2', 2, /second document/],
    ['- a', 1, /found a list of 1; expected a map/],
    ['', 1, /project: found nothing/],
    ['['.repeat(50_000), 1, /nested too deeply/],
    [`seed: ${'x'.repeat(300_000)}`, 1, /at most 262144/],
    [
      'a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]',
      1,
      /too many or too deeply nested aliases/,
    ],
    ['__proto__: { polluted: 1 }\nproject: x\nstages: { a: { command: x } }', 1, /unknown key "__proto__"/],
  ])('that is no project file is refused with the line', (text, line, message) => {
    const reading = readProjectFile(text);
    const [problem] = 'problems' in reading ? reading.problems : [];
    expect(problem?.line).toBe(line);
    expect(problem?.message).toMatch(message);
  });

  it('may use anchors and merges', () => {
    const config = configOf('project: x\nstages:\n  a: &a { command: x, timeout: 1h }\n  b: { <<: *a, command: y }\n');
    expect(config.stages.map((stage) => [stage.command, stage.timeoutMs])).toEqual([
      ['x', 3_600_000],
      ['y', 3_600_000],
    ]);
  });

  it.each(['../x', '/x', 'a/../../x', '~/x', 'C:/x', 'a\\b', '.git/config', './.git/x', 'file:///x', 'a\u0000b'])(
    'may not name the path %j',
    (path) => {
      const text = `project: x\nstages: { a: { command: x, outputs: [${JSON.stringify(path)}] } }`;
      expect(problemsOf(text)).toHaveLength(1);
    },
  );

  it('may not have more than 64 stages', () => {
    const stages = (count: number) =>
      Array.from({ length: count }, (_, index) => `  s${index}: { command: x }`).join('\n');
    expect(configOf(`project: x\nstages:\n${stages(64)}`).stages).toHaveLength(64);
    expect(problemsOf(`project: x\nstages:\n${stages(65)}`)).toEqual([
      'assay.yaml:2:1 stages: found 65 stages; expected at most 64.',
    ]);
  });

  it('may only name files that the commit has', () => {
    const files = ['requirements.txt', 'input.json', 'data/trains.sql', 'train.py'];
    expect(problemsOf(whole, { files })).toEqual([
      'assay.yaml:9:19 data.train.query: found "data/train.sql", which the commit does not have; expected a committed file. Did you mean "data/trains.sql"?',
    ]);
  });

  it('may not give one path twice', () => {
    const text = `project: x
data: { a: { dataset: a, to: data }, b: { dataset: b, to: data/b } }
stages: { a: { command: x, outputs: [m/] }, b: { command: x, outputs: [./m] } }
model: [{ name: m, path: m }, { name: m, path: n }]`;
    expect(problemsOf(text)).toEqual([
      'assay.yaml:2:59 data.b.to: found "data/b", which overlaps with a; expected a place of its own for each.',
      'assay.yaml:3:72 stages.b.outputs.0: found "./m", which a writes too; expected each path from one stage.',
      'assay.yaml:4:39 model.1.name: found m a second time; expected each model once.',
    ]);
  });

  it('is warned about a model that no stage promises', () => {
    const reading = readProjectFile(
      'project: x\nstages: { a: { command: x, outputs: [out/] } }\nmodel: { name: m, path: model.pkl }',
    );
    expect('warnings' in reading && reading.warnings.map((warning) => warning.key)).toEqual(['model.path']);
    const covered = readProjectFile(
      'project: x\nstages: { a: { command: x, outputs: [out/] } }\nmodel: { name: m, path: out/model.pkl }',
    );
    expect('warnings' in covered && covered.warnings).toEqual([]);
  });
});

describe('the order of stages', () => {
  const needs = (text: string) =>
    configOf(`project: x\nstages:\n${text}`).stages.map((stage) => `${stage.name}(${stage.needs.join()})`);

  it('is a chain in the written order unless needs say otherwise', () => {
    expect(needs('  a: { command: x }\n  b: { command: x }\n  c: { command: x }')).toEqual(['a()', 'b(a)', 'c(b)']);
  });

  it('starts a stage with empty needs at once and follows needs', () => {
    expect(needs('  a: { command: x, needs: [c] }\n  b: { command: x, needs: [] }\n  c: { command: x }')).toEqual([
      'b()',
      'c(b)',
      'a(c)',
    ]);
    expect(
      needs(
        '  a: { command: x }\n  b: { command: x, needs: [a] }\n  c: { command: x, needs: [a] }\n  d: { command: x, needs: [b, c] }',
      ),
    ).toEqual(['a()', 'b(a)', 'c(a)', 'd(b,c)']);
  });

  it('refuses a stage that needs itself, or one twice', () => {
    expect(problemsOf('project: x\nstages: { a: { command: x, needs: [a] } }')).toHaveLength(1);
    expect(problemsOf('project: x\nstages: { a: { command: x }, b: { command: x, needs: [a, a] } }')).toHaveLength(1);
  });
});

describe('the JSON Schema', () => {
  it('has every key and is closed', () => {
    const schema = projectJsonSchema() as { properties: Record<string, unknown>; additionalProperties: boolean };
    expect(Object.keys(schema.properties).join(' ')).toBe(
      'version project python image dockerfile requirements params seed env secrets data stages model metrics gate verify promote network triggers',
    );
    expect(schema.additionalProperties).toBe(false);
    const { stages } = schema.properties as {
      stages: { additionalProperties: { properties: object; required: string[] } };
    };
    expect(Object.keys(stages.additionalProperties.properties).join(' ')).toBe(
      'command needs resources pool timeout grace retries checkpoints outputs code params env secrets network cache deterministic',
    );
    expect(stages.additionalProperties.required).toEqual(['command']);
  });
});

function configOf(text: string, context?: ProjectFileContext): ProjectConfig {
  const reading = readProjectFile(text, 'assay.yaml', context);
  if ('problems' in reading) throw new Error(reading.problems.map(formatProblem).join('\n'));
  return reading.config;
}

function problemsOf(text: string, context?: ProjectFileContext): string[] {
  const reading = readProjectFile(text, 'assay.yaml', context);
  return 'problems' in reading ? reading.problems.map(formatProblem) : [];
}
