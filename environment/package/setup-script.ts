import { resolve } from 'node:path';
import { runCommand } from '#environment/process/command.ts';
import { isFile } from '#environment/sources/tree.ts';

/** What a setup.py says in literals. It is parsed, never executed. */
export interface SetupScript {
  name: string | null;
  version: string | null;
  packageDir: string | null;
  entryPoints: Readonly<Record<string, readonly string[]>>;
  hasExtensions: boolean;
  /** Arguments that are computed, so that only running the script would tell. */
  computed: readonly string[];
}

const readerScript = `
import ast, json, sys
tree = ast.parse(open(sys.argv[1], encoding='utf-8').read())
known = {}
for node in tree.body:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        try:
            known[node.targets[0].id] = ast.literal_eval(node.value)
        except ValueError:
            pass
values, computed, present = {}, [], set()
for call in ast.walk(tree):
    name = getattr(getattr(call, 'func', None), 'id', getattr(getattr(call, 'func', None), 'attr', ''))
    if not isinstance(call, ast.Call) or name != 'setup':
        continue
    for keyword in call.keywords:
        present.add(keyword.arg)
        try:
            if isinstance(keyword.value, ast.Name):
                values[keyword.arg] = known[keyword.value.id]
            else:
                values[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, KeyError):
            computed.append(keyword.arg or '**')
def text(value):
    return value if isinstance(value, str) else None
points = values.get('entry_points') or {}
if isinstance(points, str):
    import configparser
    parser = configparser.ConfigParser(delimiters=('=',))
    parser.optionxform = str
    parser.read_string(points)
    points = {section: [f'{k} = {v}' for k, v in parser.items(section)] for section in parser.sections()}
directories = values.get('package_dir') or {}
print(json.dumps({
    'name': text(values.get('name')),
    'version': text(values.get('version')),
    'packageDir': text(directories.get('')) if isinstance(directories, dict) else None,
    'entryPoints': {group: [one for one in (lines if isinstance(lines, (list, tuple)) else [lines])] for group, lines in points.items()},
    'hasExtensions': bool(present & {'ext_modules', 'cffi_modules', 'rust_extensions'}),
    'computed': computed,
}))
`;

/** Undefined when there is no setup.py, or it is not Python that can be parsed. */
export async function readSetupScript(
  directory: string,
  python: string,
  env: Readonly<Record<string, string>>,
): Promise<SetupScript | undefined> {
  const path = resolve(directory, 'setup.py');
  if (!(await isFile(path))) return undefined;
  const result = await runCommand(python, ['-I', '-c', readerScript, path], { cwd: '/', env });
  return result.exitCode === 0 ? (JSON.parse(result.stdout) as SetupScript) : undefined;
}
