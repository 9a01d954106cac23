// The Python of an image, asked once per image and machine.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { EnvironmentContext } from '#environment/context.ts';
import { type Interpreter, platformOf } from '#environment/python/interpreters.ts';
import type { PythonRequest } from '#environment/python/python-request.ts';
import { accepting, isSameMinor, type SelectedPython } from '#environment/python/select-interpreter.ts';
import { readText } from '#environment/sources/tree.ts';
import type { Base } from './base.ts';
import { noPython } from './no-python.ts';
import { engineMessage, engineStatus, type ImageSettings } from './engine.ts';
import { runInContainer } from './run-in-container.ts';

const probeScript = `
import json, os, platform, sys
try:
    libc = os.confstr('CS_GNU_LIBC_VERSION') or 'musl'
except (AttributeError, ValueError, OSError):
    libc = 'musl'
folders = [p for p in sys.path if os.path.isdir(p)]
print(json.dumps({
    'implementation': sys.implementation.name,
    'path': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'version': platform.python_version(),
    'os': sys.platform,
    'machine': platform.machine(),
    'libc': libc,
    'site': [p for p in folders if os.path.basename(p) in ('site-packages', 'dist-packages')],
    'distributions': sorted({n for p in folders for n in os.listdir(p) if n.endswith(('.dist-info', '.egg-info'))}),
}))
`;

interface Probe {
  implementation: string;
  path: string;
  version: string;
  os: string;
  machine: string;
  libc: string;
  site: string[];
  distributions: string[];
}

const probes = new Map<string, Promise<Probe | null>>();

/**
 * The Python of a base; one that says `noPython` when the image has none.
 *
 * @throws DomainError environment-unsupported when it is not the version that is asked for, naming both.
 */
export async function imagePython(
  context: EnvironmentContext,
  base: Base,
  request: PythonRequest,
): Promise<SelectedPython> {
  const found = await probeOnce(context, base);
  const interpreter = found === null ? undefined : interpreterOf(found);
  if (interpreter === undefined) {
    if (request.isExact) throw refusal(base, request, 'it has no Python');
    return { interpreter: withoutPython(base), notes: [] };
  }
  if (accepting(request)(interpreter)) return { interpreter, notes: [] };
  if (!isSameMinor(request, interpreter)) throw refusal(base, request, `it has Python ${interpreter.version}`);
  const note = `${request.from} asks for Python ${request.request}; ${interpreter.version} of ${base.reference} is used.`;
  return { interpreter, notes: [note] };
}

function refusal(base: Base, { request, from }: PythonRequest, found: string): DomainError {
  const what = base.kind === 'dockerfile' ? `The image of ${base.reference}` : `The base image ${base.reference}`;
  return new DomainError(
    'environment-unsupported',
    `${from} asks for Python ${request ?? '>=3.9'}, and ${found}: ${what.charAt(0).toLowerCase()}${what.slice(1)}. Change one of them so that they agree.`,
  );
}

function interpreterOf(probe: Probe): Interpreter | undefined {
  const platform = platformOf(probe);
  if (platform === undefined || probe.implementation !== 'cpython') return undefined;
  const { path, version, site: sitePackages, distributions } = probe;
  return { path, version, platform, isPrivate: false, sitePackages, distributions };
}

function withoutPython(base: Base): Interpreter {
  const arch = base.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const platform = { os: 'linux', arch, libc: '' } as const;
  return { path: '', version: noPython, platform, isPrivate: false, sitePackages: [], distributions: [] };
}

async function probeOnce(context: EnvironmentContext, base: Base): Promise<Probe | null> {
  const known = probes.get(base.imageId) ?? readOrProbe(context, base);
  probes.set(base.imageId, known);
  try {
    return await known;
  } catch (error) {
    probes.delete(base.imageId);
    throw error;
  }
}

async function readOrProbe(context: EnvironmentContext, base: Base): Promise<Probe | null> {
  const record = join(context.cacheDir, 'images', 'pythons', `${base.imageId.replace('sha256:', '')}.json`);
  const text = await readText(record);
  if (text !== undefined) return JSON.parse(text) as Probe | null;
  const { images } = context;
  if (images === null) throw new TypeError('an image is asked for its Python without an engine');
  const found = (await probe(context, images, base, 'python3')) ?? (await probe(context, images, base, 'python'));
  await mkdir(dirname(record), { recursive: true });
  const draft = `${record}.${process.pid}.new`;
  await writeFile(draft, JSON.stringify(found), { flush: true });
  await rename(draft, record);
  return found;
}

const nobody = { uid: 65_534, gid: 65_534 };

/** Null when the image has no such program, or one that is not Python 3. */
async function probe(
  { cacheDir }: EnvironmentContext,
  images: ImageSettings,
  base: Base,
  program: string,
): Promise<Probe | null> {
  const command = { images, base, cacheDir, user: nobody, env: {}, folders: { writes: [], reads: [] }, network: false };
  try {
    const { exitCode, stdout } = await runInContainer(command, program, ['-I', '-c', probeScript]);
    return exitCode === 0 ? (JSON.parse(stdout) as Probe) : null;
  } catch (error) {
    if (error instanceof SyntaxError || isNoProgram(error)) return null;
    throw error;
  }
}

function isNoProgram(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return (
    engineStatus(cause) === 400 && /executable file not found|no such file or directory/.test(engineMessage(cause))
  );
}
