import { describe, expect, it } from 'vitest';
import { draftProjectFile } from '#contract/draft.ts';
import { formatProblem } from '#contract/project-problem.ts';
import { readProjectFile } from '#contract/project-file.ts';
import { readDeclaredParams, readProject, seedOf } from '#contract/read-project.ts';
import type { Repository } from '#contract/repository.ts';
import { DomainError } from '#core/errors.ts';
import { renderParams } from '#core/param-styles.ts';
import { resolveParams, type Overrides } from '#core/params.ts';

const argparse = `import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument('--epochs', type=int, default=3, help="how often (of all)")
parser.add_argument("--name", default='base')
parser.add_argument("--fast", action="store_true")
parser.add_argument("--out", default=os.path.join("a", "b"))
args = parser.parse_args()
torch.save(model.state_dict(), "model.pt")
json.dump(metrics, open("metrics.json", "w"))
`;
const guarded = 'def main():\n    pass\n\nif __name__ == "__main__":\n    main()\n';

describe('a repository without a project file', () => {
  it('runs train.py before main.py', async () => {
    const { config } = await readProject(repository({ 'train.py': guarded, 'main.py': guarded }), 'pets');
    expect(config).toMatchObject({ project: 'pets', origin: 'zero configuration: train.py' });
    expect(config.stages.map(({ name, command, needs, outputs }) => ({ name, command, needs, outputs }))).toEqual([
      { name: 'train', command: ['python', 'train.py'], needs: [], outputs: [] },
    ]);
  });

  it('runs a nested train.py as a module of its package, else as a script', async () => {
    const asModule = await readProject(repository({ 'src/pets/__init__.py': '', 'src/pets/train.py': guarded }), 'x');
    expect(asModule.config.stages[0]).toMatchObject({
      command: ['python', '-m', 'pets.train'],
      env: { PYTHONPATH: 'src' },
    });
    const asScript = await readProject(repository({ 'src/pets/train.py': guarded }), 'x');
    expect(asScript.config.stages[0]).toMatchObject({ command: ['python', 'src/pets/train.py'], env: {} });
  });

  it('is refused when several scripts could be meant, with the command to use', async () => {
    const message = await refusalOf(readProject(repository({ 'src/a/train.py': '', 'src/b/train.py': '' }), 'x'));
    expect(message).toMatch(
      /^no-entry-point: Found 2 scripts.*src\/a\/train\.py, src\/b\/train\.py.*assay run -- python src\/a\/train\.py/,
    );
  });

  it('names the script called after training when it asks for the command', async () => {
    const files = { 'data/generate.py': guarded, 'pets/model.py': guarded, 'pets/cli/train.py': guarded };
    const refusal = await refusalOf(readProject(repository(files), 'x'));
    expect(refusal).toContain('assay run -- python pets/cli/train.py');
    expect(await refusalOf(readProject(repository({ ...files, 'dvc.yaml': '', 'a.py': guarded }), 'x'))).toMatch(
      /Found only pets\/cli\/train\.py, a\.py, data\/generate\.py and 1 more; .*assay init, which reads dvc\.yaml/,
    );
  });

  it.each(['import typer', 'import json, joblib, typer', 'from click import command'])(
    'takes parameters as flags after %s',
    async (line) => {
      const { config } = await readProject(repository({ 'train.py': line }), 'x');
      expect(config.params.style).toBe('argv');
    },
  );

  it('is refused when none could be, with the scripts that exist', async () => {
    const files = { 'fit.py': guarded, 'lib.py': 'x = 1', 'setup.py': guarded, 'tests/run.py': guarded };
    expect(await refusalOf(readProject(repository(files), 'x'))).toMatch(
      /Found only fit\.py; .*assay run -- python fit\.py/,
    );
    expect(await refusalOf(readProject(repository({}), 'x'))).toMatch(/no Python script/);
  });

  it('is refused when its project file has the wrong name', async () => {
    const files = { 'assay.yml': 'project: x', 'train.py': '' };
    expect(await refusalOf(readProject(repository(files), 'x'))).toMatch(/Found assay\.yml; .*assay\.yaml/);
  });

  it.each<[string, Record<string, string>, object]>([
    ['input.json', { 'input.json': '{}' }, { file: 'input.json', style: 'json' }],
    ['params.yaml', { 'params.yaml': 'a: 1' }, { file: 'params.yaml', style: 'json' }],
    [
      'a config.yaml that the script names',
      { 'config.yaml': 'a: 1', 'train.py': 'open("config.yaml")' },
      { file: 'config.yaml' },
    ],
    [
      'flags, not a config.yaml that nobody names',
      { 'config.yaml': 'a: 1', 'train.py': argparse },
      { file: null, style: 'argv' },
    ],
    ['flags of click', { 'train.py': 'import click' }, { file: null, style: 'argv' }],
    ['hydra', { 'train.py': 'import hydra\n', 'conf/config.yaml': 'a: 1' }, { file: null, style: 'hydra' }],
    ['nothing', {}, { file: null, style: 'json' }],
  ])('takes its parameters from %s', async (_, files, params) => {
    const { config } = await readProject(repository({ 'train.py': guarded, ...files }), 'x');
    expect(config.params).toMatchObject(params);
  });
});

describe('an MLproject file', () => {
  const mlProject = `name: wine
python_env: python_env.yaml
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5}
      l1_ratio: {type: float, default: 0.1}
      data: path
    command: "python train.py {alpha} {l1_ratio}"
  other:
    command: "python other.py"
`;
  const files = {
    MLproject: mlProject,
    'python_env.yaml': 'python: "3.11.4"\ndependencies: [mlflow]\n',
    'train.py': 'import sys',
  };

  it('is the configuration where there is no assay.yaml', async () => {
    const repo = repository(files);
    const { config } = await readProject(repo, 'wine');
    expect(config).toMatchObject({ origin: 'MLproject: main', python: '3.11.4', stages: [{ name: 'main' }] });
    expect(await commandOf(repo, { alpha: 0.3, data: 'a b.csv' })).toBe("python train.py 0.3 0.1 --data 'a b.csv'");
    await expect(commandOf(repo, { alhpa: 1 })).rejects.toThrow(/Did you mean "alpha"/);
  });

  it('that MLflow would not read is refused', async () => {
    expect(await refusalOf(readProject(repository({ MLproject: 'entry_points: 3' }), 'x'))).toMatch(
      /^invalid-project-file/,
    );
    expect(await refusalOf(readProject(repository({ MLproject: 'a: [' }), 'x'))).toMatch(/^invalid-project-file/);
    const many = { MLproject: 'entry_points: { a: { command: x }, b: { command: y } }' };
    expect(await refusalOf(readProject(repository(many), 'x'))).toMatch(/^no-entry-point: Found the entry points a, b/);
  });
});

describe('assay run -- COMMAND', () => {
  it('is one stage in any repository', async () => {
    const command = ['python', '-m', 'pets.train', '--epochs', '3'];
    const { config } = await readProject(repository({ 'README.md': '' }), 'x', command);
    expect(config.stages).toMatchObject([{ name: 'main', command, needs: [] }]);
    expect(config.params.style).toBe('argv');
  });

  it('replaces the stages of a project file and keeps the rest', async () => {
    const text = `project: pets
secrets: [TOKEN]
network: none
stages: { train: { command: x }, evaluate: { command: y } }
metrics: { declare: { accuracy: { goal: max, from: evaluate } } }
gate: ["accuracy >= 0.9"]`;
    const { config } = await readProject(repository({ 'assay.yaml': text, 'input.json': '{}' }), 'x', [
      'python',
      'fit.py',
    ]);
    expect(config).toMatchObject({ project: 'pets', gate: ['accuracy >= 0.9'], params: { file: 'input.json' } });
    expect(config.stages).toMatchObject([
      { name: 'main', command: ['python', 'fit.py'], secrets: ['TOKEN'], network: 'none' },
    ]);
    expect(config.metrics.declare.accuracy?.from).toBeNull();
  });

  it('knows a file that its script reads', async () => {
    const files = { 'fit.py': 'open("config.json")', 'config.json': '{"lr": 0.1}' };
    expect((await readProject(repository(files), 'x', ['python', 'fit.py'])).config.params.file).toBe('config.json');
  });
});

describe('a repository with a project file', () => {
  it('gets what the file leaves out from what is detected', async () => {
    const files = { 'assay.yaml': 'gate: ["a >= 1"]', 'train.py': argparse };
    const { config } = await readProject(repository(files), 'pets');
    expect(config).toMatchObject({
      project: 'pets',
      origin: 'assay.yaml',
      params: { style: 'argv' },
      gate: ['a >= 1'],
    });
    expect(config.stages).toMatchObject([{ name: 'train', command: ['python', 'train.py'] }]);
    const withStages = { ...files, 'assay.yaml': 'stages: { fit: { command: python train.py } }' };
    expect((await readProject(repository(withStages), 'x')).config.params.style).toBe('argv');
  });

  it('is refused with all of its problems', async () => {
    const files = { 'assay.yaml': 'stages: { a: { command: 1 } }\nsed: 1' };
    const message = await refusalOf(readProject(repository(files), 'x'));
    expect(message).toContain('assay.yaml:1:25 stages.a.command');
    expect(message).toContain('assay.yaml:2:1 sed');
  });

  it('declares its parameters in the parameter file and in itself', async () => {
    const text = 'params: { file: p.yaml, defaults: { extra: 1, lr: 9 } }\nstages: { a: { command: x } }';
    const repo = repository({ 'assay.yaml': text, 'p.yaml': 'lr: 0.1\n' });
    const { config } = await readProject(repo, 'x');
    expect(await readDeclaredParams(repo, config)).toEqual({ extra: 1, lr: 0.1 });
    expect([seedOf(config, 7), seedOf(config, null)]).toEqual([7, seedOf(config, null)]);
  });
});

describe('a drafted project file', () => {
  const repositories: [string, Record<string, string>][] = [
    ['an empty repository', {}],
    ['a script with flags', { 'train.py': argparse, 'requirements.txt': '' }],
    ['a script with a parameter file', { 'train.py': guarded, 'input.json': '{"lr": 1}', 'evaluate.py': guarded }],
    ['hydra', { 'train.py': 'import hydra' }],
    ['a script with another name', { 'fit.py': guarded }],
    ['several candidates', { 'src/a/train.py': guarded, 'src/b/train.py': guarded }],
    [
      'MLproject',
      {
        MLproject: 'entry_points: { main: { parameters: { a: 1.5, b: { default: x } }, command: "python t.py {a}" } }',
      },
    ],
    ['a broken MLproject', { MLproject: ':[', 'train.py': '' }],
    [
      'pyproject scripts',
      {
        'pyproject.toml': '[project]\nname="p"\n[project.scripts]\nserve="p.s:main"\ntrain="p.cli:app.run"\n',
        'src/p/cli.py': 'import typer',
      },
    ],
    ['a broken pyproject', { 'pyproject.toml': '[[[', 'train.py': '' }],
    ['dvc.yaml', { 'dvc.yaml': dvc() }],
  ];

  it.each(repositories)('is valid for %s', async (_, files) => {
    const text = await draftProjectFile(repository(files), 'My Project!');
    const reading = readProjectFile(text, 'assay.yaml', { files: Object.keys(files) });
    expect('problems' in reading ? reading.problems.map(formatProblem) : []).toEqual([]);
    expect(text).toContain('project: my-project');
  });

  it('declares flags with their defaults, the model and the metrics file', async () => {
    const { config } = await drafted({ 'train.py': argparse });
    expect(config.params).toEqual({
      file: null,
      style: 'argv',
      defaults: { 'learning-rate': 0.001, epochs: 3, name: 'base', fast: false, out: null },
    });
    expect(config.models).toEqual([{ name: 'x', path: 'model.pt' }]);
    expect(config.metrics.files).toEqual(['metrics.json']);
  });

  it.each([
    ['joblib.dump(model, out / "model.joblib")', []],
    ['joblib.dump(model, os.path.join(out, "model.joblib"))', []],
    ['torch.save(net.state_dict(), f"{out}/model.pt")', []],
    ['pickle.dump(model, open("models/m.pkl", "wb"))', ['models/m.pkl']],
    ['model.save_pretrained("model/")', ['model']],
  ])('takes only a whole path for the model: %s', async (line, paths) => {
    const { config } = await drafted({ 'train.py': line });
    expect(config.models.map(({ path }) => path.replace(/\/$/, ''))).toEqual(paths);
  });

  it.each([
    [{ 'train.py': '', 'conda.yaml': '' }, '# requirements: requirements.txt    # write one: conda.yaml is not'],
    [{ 'train.py': '', 'src/requirements.txt': '' }, '\nrequirements: "src/requirements.txt"\n'],
    [{ 'train.py': '', 'setup.cfg': '' }, '# Packages come from setup.cfg.'],
    [{ 'train.py': '' }, '# none was found'],
  ])('says where packages come from in %o', async (files, line) => {
    expect((await drafted(files)).text).toContain(line);
  });

  it('takes model and metrics of dvc.yaml, and names what DVC keeps out of the commit', async () => {
    const more = 'metrics: [eval/all.json]\nartifacts:\n  best: { path: model.pkl, type: model }\n';
    const { config, text } = await drafted({ 'dvc.yaml': dvc() + more, 'src/prepare.py': '', 'data/data.xml.dvc': '' });
    expect(config.models).toEqual([{ name: 'x', path: 'model.pkl' }]);
    expect(config.metrics.files).toEqual(['eval/metrics.json', 'eval/all.json']);
    expect(text).toContain('# data/data.xml is in no commit');
    expect(text).not.toContain('src/prepare.py is in no commit');
  });

  it('chains evaluate.py after train.py', async () => {
    const { config } = await drafted({ 'train.py': '', 'evaluate.py': '', 'prepare.py': '' });
    expect(config.stages.map(({ name, needs }) => [name, needs])).toEqual([
      ['prepare', []],
      ['train', ['prepare']],
      ['evaluate', ['train']],
    ]);
  });

  it('translates the stages of dvc.yaml', async () => {
    const { config, text } = await drafted({ 'dvc.yaml': dvc(), 'params.yaml': 'train: {lr: 0.1}' });
    expect(config.stages.map(({ name, needs, outputs, command }) => ({ name, needs, outputs, command }))).toEqual([
      { name: 'prepare', needs: [], outputs: ['data/prepared'], command: 'python src/prepare.py data/data.xml' },
      { name: 'train', needs: ['prepare'], outputs: ['model.pkl'], command: 'cd src && python train.py && echo done' },
      {
        name: 'evaluate',
        needs: ['prepare', 'train'],
        outputs: ['eval/metrics.json', 'eval/plots'],
        command: 'python src/evaluate.py',
      },
    ]);
    expect(config.metrics.files).toEqual(['eval/metrics.json']);
    expect(config.params.file).toBe('params.yaml');
    expect(text).toContain('# The stage many of dvc.yaml has to be written by hand');
  });

  async function drafted(files: Record<string, string>) {
    const text = await draftProjectFile(repository(files), 'x');
    const reading = readProjectFile(text);
    if ('problems' in reading) throw new Error(reading.problems.map(formatProblem).join('\n'));
    return { config: reading.config, text };
  }
});

function dvc(): string {
  return `stages:
  prepare:
    cmd: python src/prepare.py data/data.xml
    deps: [data/data.xml, src/prepare.py]
    outs: [data/prepared]
  train:
    wdir: src
    cmd: [python train.py, echo done]
    deps: [../data/prepared]
    params: [train.lr]
    outs: [../model.pkl: {cache: false}]
  evaluate:
    cmd: python src/evaluate.py
    deps: [model.pkl, data/prepared]
    metrics: [eval/metrics.json: {cache: false}]
    plots: [eval/plots]
  many:
    foreach: [a, b]
    do: { cmd: "x \${item}" }
`;
}

function repository(files: Record<string, string>): Repository {
  return { files: Object.keys(files), read: (path) => Promise.resolve(files[path] ?? null) };
}

async function commandOf(repo: Repository, overrides: Overrides) {
  const { config } = await readProject(repo, 'x');
  const params = resolveParams(await readDeclaredParams(repo, config), overrides, config.params.style);
  return renderParams(config.params.style, config.stages[0]?.command ?? '', params, overrides).command;
}

async function refusalOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof DomainError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'accepted';
}
