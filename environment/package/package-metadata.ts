import { unknownVersion } from '#environment/context.ts';
import { readPyproject } from '#environment/sources/pyproject.ts';
import { buildReason } from './build-reason.ts';
import { type EntryPoints, readEntryPoints } from './entry-points.ts';
import { findImportRoots } from './import-roots.ts';
import { findVersion } from './package-version.ts';
import { readSetupConfig } from './setup-config.ts';
import { readSetupScript } from './setup-script.ts';

/** A package of the tree as an installation needs it. */
export interface PackageMetadata {
  /** Null when only running its build would tell: it is importable, without metadata. */
  name: string | null;
  version: string;
  requires: readonly string[];
  /** Directories to import from, relative to the package. */
  importRoots: readonly string[];
  /** Group → name → target, for example `console_scripts` → `pets-train` → `pets.train:main`. */
  entryPoints: EntryPoints;
  /** Why importing from the sources is not enough; null when it is. */
  needsBuild: string | null;
  notes: readonly string[];
}

/** Reads what a package says about itself, from its files alone: no build backend is asked, no code is run. */
export async function readPackageMetadata(
  directory: string,
  python: string,
  env: Readonly<Record<string, string>>,
): Promise<PackageMetadata> {
  const [pyproject, setup, config] = await Promise.all([
    readPyproject(directory),
    readSetupScript(directory, python, env),
    readSetupConfig(directory),
  ]);
  const statements = { directory, pyproject, setup, config };
  const importRoots = await findImportRoots(statements);
  const version = (await findVersion(statements, importRoots)) ?? unknownVersion;
  const name = pyproject?.name ?? config.metadata?.name ?? setup?.name ?? null;
  const isComputed = !pyproject?.hasProject && (setup?.computed.includes('entry_points') ?? false);
  return {
    name,
    version,
    requires: pyproject?.dependencies ?? [],
    importRoots,
    entryPoints: readEntryPoints(statements),
    needsBuild: await buildReason(statements),
    notes: [
      ...(name === null ? ['setup.py computes its name, so the package is importable but has no metadata.'] : []),
      ...(isComputed ? ['setup.py computes its entry points, so its commands are not installed.'] : []),
    ],
  };
}
