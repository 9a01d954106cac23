import picomatch from 'picomatch';
import { describe, expect, it } from 'vitest';
import { digestedPaths, stageTree } from '#core/code-scope.ts';
import { collectOutputs, findOutputClash, isCache } from '#core/outputs.ts';
import type { ProjectConfig } from '#core/project.ts';

const glob = (pattern: string) => picomatch(pattern, { dot: true });

const config: Pick<ProjectConfig, 'params' | 'requirements' | 'dockerfile' | 'data'> = {
  params: { file: 'input.json', style: 'json', defaults: null },
  requirements: 'deps/ml.txt',
  dockerfile: null,
  data: [{ kind: 'query', name: 'train', query: 'sql/train.sql', to: 'train.csv', format: 'csv' }],
};

describe('the code digest', () => {
  it('leaves out what enters the key by itself, what only Assay reads, and prose', () => {
    const out = [
      'assay.yaml',
      '.assayignore',
      'input.json',
      'sql/train.sql',
      'deps/ml.txt',
      'requirements.txt',
      'requirements-dev.txt',
      'uv.lock',
      'README.md',
      'LICENSE',
      'CHANGELOG.rst',
      '.github/workflows/ci.yml',
    ];
    const within = [
      'train.py',
      'lib/README.md',
      'sql/other.sql',
      'conf/input.json',
      'pyproject.toml',
      'requirements/x.py',
    ];
    expect(digestedPaths(config, [...out, ...within], null, glob)).toEqual(within);
  });

  it('leaves out what .assayignore names, as .gitignore would', () => {
    const ignore = '# notes\nnotebooks/\n*.png\n!keep.png\n/data\ndocs/**/draft.md\n';
    const paths = [
      'train.py',
      'notebooks/a.ipynb',
      'x/notebooks/b.py',
      'a.png',
      'x/b.png',
      'keep.png',
      'data/x.csv',
      'lib/data/y.csv',
      'docs/a/b/draft.md',
      'notebooks.py',
    ];
    expect(digestedPaths(config, paths, ignore, glob)).toEqual([
      'train.py',
      'keep.png',
      'lib/data/y.csv',
      'notebooks.py',
    ]);
  });
});

describe("a stage's tree", () => {
  const paths = ['train.py', 'lib/model.py', 'lib/data/load.py', 'evaluate.py', 'input.json'];

  it('is all of it unless the stage names its part', () => {
    expect(stageTree({ code: null }, config, paths, glob)).toEqual(paths);
    expect(stageTree({ code: ['evaluate.py', 'lib/'] }, config, paths, glob)).toEqual([
      'lib/model.py',
      'lib/data/load.py',
      'evaluate.py',
      'input.json',
    ]);
    expect(stageTree({ code: ['**/*.py'] }, config, paths, glob)).toHaveLength(5);
    expect(stageTree({ code: [] }, config, paths, glob)).toEqual(['input.json']);
  });
});

describe('outputs', () => {
  const before = new Map([
    ['train.py', '1'],
    ['model/.gitkeep', '1'],
    ['data.csv', '1'],
  ]);
  const after = new Map([
    ...before,
    ['data.csv', '2'],
    ['model.pkl', '1'],
    ['model/w.bin', '1'],
    ['lib/__pycache__/a.pyc', '1'],
    ['.venv/x', '1'],
    ['pets.egg-info/PKG', '1'],
  ]);

  it('are what is new or changed, caches excepted', () => {
    expect(collectOutputs([], [], before, after, glob)).toEqual({
      paths: ['data.csv', 'model.pkl', 'model/w.bin'],
      missing: [],
    });
  });

  it('are only what is declared, with models and metrics files, and unchanged files are not', () => {
    expect(collectOutputs(['model/'], ['model.pkl', 'metrics.json'], before, after, glob)).toEqual({
      paths: ['model.pkl', 'model/w.bin'],
      missing: [],
    });
    expect(collectOutputs(['*.pkl'], [], before, after, glob).paths).toEqual(['model.pkl']);
  });

  it('that are declared and missing are named', () => {
    expect(collectOutputs(['model/', 'history.json', 'train.py'], [], before, after, glob).missing).toEqual([
      'history.json',
      'train.py',
    ]);
  });

  it('may hold a cache that is named', () => {
    expect(collectOutputs(['.venv'], [], before, after, glob).paths).toEqual(['.venv/x']);
    expect(isCache('lib/x.py')).toBe(false);
  });

  it('of two stages must not share a path', () => {
    expect(
      findOutputClash(
        new Map([
          ['a', ['x', 'y']],
          ['b', ['z']],
        ]),
      ),
    ).toBeNull();
    expect(
      findOutputClash(
        new Map([
          ['a', ['x', 'y']],
          ['b', ['y']],
        ]),
      ),
    ).toEqual({ path: 'y', stages: ['a', 'b'] });
  });
});
