// Python's own start-up hook for stages that ask to be deterministic. PyTorch has no variable for its switch, so it is
// set in the process, once torch is imported by whoever needs it; other stages never meet this file.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Standard library only, any Python 3, and silent: whatever goes wrong in it, the script goes on. A `sitecustomize` that
 * the environment has of its own runs too. Where the report's variable is not set nothing is written.
 */
const sitecustomize = `
import sys


def _start():
    import atexit
    import json
    import os

    report = os.environ.get('ASSAY_DETERMINISM_REPORT')
    names = ('PYTHONHASHSEED', 'CUBLAS_WORKSPACE_CONFIG', 'TF_DETERMINISTIC_OPS', 'TF_CUDNN_DETERMINISTIC')
    report_bytes_max = 256 * 1024
    errors = {}

    def torch_state(torch):
        state = {'version': str(torch.__version__)}
        state['deterministic'] = bool(torch.are_deterministic_algorithms_enabled())
        warn_only = getattr(torch, 'is_deterministic_algorithms_warn_only_enabled', None)
        state['warnOnly'] = bool(warn_only and warn_only())
        state['cudnnBenchmark'] = bool(torch.backends.cudnn.benchmark)
        state['threads'] = torch.get_num_threads()
        return state

    def tensorflow_state(tensorflow):
        config = sys.modules['tensorflow.python.framework.config']
        state = {'version': str(tensorflow.__version__)}
        state['deterministic'] = bool(config.is_op_determinism_enabled())
        return state

    def state_of(name, read):
        module = sys.modules.get(name)
        if module is None or not hasattr(module, '__version__'):
            return None
        try:
            state = read(module)
        except Exception as error:
            state = {'version': str(module.__version__), 'error': repr(error)}
        if name in errors:
            state['error'] = errors[name]
        return state

    def tell():
        try:
            state = {'pid': os.getpid(), 'program': os.path.basename(sys.argv[0] if sys.argv else '')}
            state['variables'] = dict((name, os.environ[name]) for name in names if name in os.environ)
            for name, read in (('torch', torch_state), ('tensorflow', tensorflow_state)):
                found = state_of(name, read)
                if found is not None:
                    state[name] = found
            file = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if os.fstat(file).st_size < report_bytes_max:
                    os.write(file, (json.dumps(state) + '\\n').encode())
            finally:
                os.close(file)
        except Exception:
            pass

    def after_torch(torch):
        try:
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
        except Exception as error:
            errors['torch'] = repr(error)
        if report:
            tell()

    class AfterImport(object):
        """Leaves module and loader as they are, and is asked for one name only."""

        def find_spec(self, name, path=None, target=None):
            if name != 'torch':
                return None
            for finder in sys.meta_path:
                find = getattr(finder, 'find_spec', None)
                spec = None if finder is self or find is None else find(name, path, target)
                if spec is not None:
                    self.watch(spec.loader)
                    return spec
            return None

        def watch(self, loader):
            execute = getattr(loader, 'exec_module', None)
            if execute is None:
                return

            def exec_module(module):
                execute(module)
                after_torch(module)

            try:
                loader.exec_module = exec_module
            except Exception as error:
                errors['torch'] = repr(error)

    if 'torch' not in sys.modules:
        sys.meta_path.insert(0, AfterImport())
    if report:
        atexit.register(tell)


def _run_next():
    import importlib.util
    import os
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec('sitecustomize', [path for path in sys.path if os.path.abspath(path) != here])
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules['sitecustomize'] = module
        spec.loader.exec_module(module)


try:
    _start()
except Exception:
    pass
_run_next()
`;

/** Makes a folder that a stage has first on its PYTHONPATH. */
export async function writeDeterministicHook(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'sitecustomize.py'), sitecustomize.trimStart(), { mode: 0o644 });
}
