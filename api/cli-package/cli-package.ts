// The command line as this server hands it out: built from the server's own sources when somebody first asks for it.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DomainError } from '#core/errors.ts';
import { readSources } from './sources.ts';

export interface CliPackage {
  /** The version it says of itself: this server's, with a digest of what it is made of. Null without the sources. */
  version: () => Promise<string | null>;
  /** @throws DomainError not-found where the sources are not installed. */
  read: () => Promise<CliTarball>;
}

export interface CliTarball {
  bytes: Buffer;
  sha256: string;
}

const script = fileURLToPath(new URL('./build.ts', import.meta.url));
const buildTimeoutMs = 60_000;

/** @param cacheDir keeps the package of the newest version; it is built again when it is not there. */
export function createCliPackage(cacheDir: string): CliPackage {
  let version: Promise<string | null> | null = null;
  let tarball: Promise<CliTarball> | null = null;
  const readVersion = () => (version ??= findVersion());
  return {
    version: readVersion,
    read: async () => {
      tarball ??= readVersion().then((found) => openTarball(cacheDir, found));
      try {
        return await tarball;
      } catch (error) {
        tarball = null;
        throw error;
      }
    },
  };
}

async function findVersion(): Promise<string | null> {
  try {
    return (await readSources()).version;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function openTarball(cacheDir: string, version: string | null): Promise<CliTarball> {
  if (version === null) {
    throw new DomainError(
      'not-found',
      'This server was installed without the sources of its command line (cli/ and what it imports), so it has none to hand out. Install the whole release, or run "npm run build:cli" in a checkout of it and hand out dist/assay.tgz.',
    );
  }
  const name = `assay-${version}.tgz`;
  const path = join(cacheDir, name);
  const kept = await readIfThere(path);
  const bytes = kept ?? (await build(path));
  const old = (await readdir(cacheDir)).filter((entry) => /^assay-.*\.tgz$/.test(entry) && entry !== name);
  for (const entry of old) await rm(join(cacheDir, entry), { force: true });
  return { bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}

async function build(path: string): Promise<Buffer> {
  await mkdir(join(path, '..'), { recursive: true });
  const args = ['--disable-warning=ExperimentalWarning', script, path];
  await promisify(execFile)(process.execPath, args, { timeout: buildTimeoutMs });
  return readFile(path);
}

async function readIfThere(path: string): Promise<Buffer | null> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}
