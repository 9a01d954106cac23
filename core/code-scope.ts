// Which files of a commit's tree a stage gets, and which of them enter its code digest.
import { declaredPathMatches, type CompileGlob } from './glob.ts';
import type { ProjectConfig, Stage } from './project.ts';

/** Files of the tree a stage finds: all, or what its `code:` names (a folder, a file or a glob) plus what it needs to start. */
export function stageTree(
  stage: Pick<Stage, 'code'>,
  config: Pick<ProjectConfig, 'params' | 'requirements'>,
  paths: readonly string[],
  compileGlob: CompileGlob,
): string[] {
  if (stage.code === null) return [...paths];
  const scopes = stage.code.map((scope) => declaredPathMatches(scope, compileGlob));
  const always = new Set([config.params.file]);
  return paths.filter((path) => always.has(path) || scopes.some((matches) => matches(path)));
}

/**
 * The part of a stage's tree that enters its code digest. Left out is what enters the key by itself (parameters,
 * queries, requirements), what only Assay reads, prose, and what `.assayignore` names.
 */
export function digestedPaths(
  config: Pick<ProjectConfig, 'params' | 'requirements' | 'dockerfile' | 'data'>,
  stagePaths: readonly string[],
  assayIgnore: string | null,
  compileGlob: CompileGlob,
): string[] {
  const entersByItself = new Set(
    [config.params.file, config.requirements, config.dockerfile, ...config.data.map(queryPath)].filter(
      (path) => path !== null,
    ),
  );
  const isIgnored = ignoreRules(assayIgnore ?? '', compileGlob);
  return stagePaths.filter((path) => !entersByItself.has(path) && !isAlwaysLeftOut(path) && !isIgnored(path));
}

function queryPath(source: ProjectConfig['data'][number]): string | null {
  return source.kind === 'query' ? source.query : null;
}

const requirementFile =
  /^(requirements([-._][\w.-]+)?\.(txt|in)|constraints([-._][\w.-]+)?\.txt|uv\.lock|pylock(\.[\w-]+)?\.toml|\.python-version)$/;

function isAlwaysLeftOut(path: string): boolean {
  if (path.startsWith('.github/')) return true;
  if (path.includes('/')) return false;
  return (
    /^(README|LICENSE|CHANGELOG)/.test(path) ||
    /^(assay\.ya?ml|\.assayignore)$/.test(path) ||
    requirementFile.test(path)
  );
}

/** Rules as in .gitignore: the last one that matches decides, `!` takes back, a folder covers what is below it. */
export function ignoreRules(text: string, compileGlob: CompileGlob): (path: string) => boolean {
  const rules = text
    .split('\n')
    .map((line) => line.replace(/\r$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ ignores: !line.startsWith('!'), matches: ignoreRule(line.replace(/^!/, ''), compileGlob) }));
  return (path) => rules.findLast((rule) => rule.matches(path))?.ignores ?? false;
}

// A rule with a slash before its end is bound to the root; any other matches at every depth.
function ignoreRule(rule: string, compileGlob: CompileGlob): (path: string) => boolean {
  const isFolder = rule.endsWith('/');
  const body = rule.replace(/^\//, '').replace(/\/+$/, '');
  const anchored = rule.replace(/\/+$/, '').includes('/') ? body : `**/${body}`;
  const isBelow = compileGlob(`${anchored}/**/*`);
  const isSame = compileGlob(anchored);
  return (path) => isBelow(path) || (!isFolder && isSame(path));
}
