import { join } from 'node:path';
import { stringAt, tableAt } from '#environment/sources/pyproject.ts';
import { isFile } from '#environment/sources/tree.ts';
import { type Statements, tools } from './statements.ts';

const compilingBackends = /^(maturin|scikit_build_core|mesonpy|py_build_cmake|enscons)/;

/** Why importing from the sources is not enough; null when it is. */
export async function buildReason({ directory, pyproject, setup }: Statements): Promise<string | null> {
  const backend = stringAt(tableAt(pyproject?.table ?? {}, 'build-system'), 'build-backend') ?? '';
  if (compilingBackends.test(backend)) return `${backend} compiles it`;
  const tool = tools(pyproject);
  if (setup?.hasExtensions || 'ext-modules' in tableAt(tool, 'setuptools')) return 'it has extension modules';
  const hooks = tableAt(tableAt(tableAt(tool, 'hatch'), 'build'), 'hooks');
  const generating = Object.keys(hooks).find((name) => !['vcs', 'version'].includes(name));
  if (generating !== undefined) return `its build runs the hook ${generating}`;
  const scm = tableAt(tool, 'setuptools_scm');
  const generated = [
    stringAt(scm, 'write_to'),
    stringAt(scm, 'version_file'),
    stringAt(tableAt(hooks, 'vcs'), 'version-file'),
  ];
  for (const path of generated.filter((one) => one !== null)) {
    if (!(await isFile(join(directory, path)))) return `its build writes ${path}`;
  }
  return null;
}
