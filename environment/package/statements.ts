import type { TomlTable } from 'smol-toml';
import { type Pyproject, tableAt } from '#environment/sources/pyproject.ts';
import type { SetupConfig } from './setup-config.ts';
import type { SetupScript } from './setup-script.ts';

/** Everything a package says about itself, whichever of its files says it. */
export interface Statements {
  directory: string;
  pyproject: Pyproject | undefined;
  setup: SetupScript | undefined;
  config: SetupConfig;
}

/** The `[tool]` table of pyproject.toml. */
export function tools(pyproject: Pyproject | undefined): TomlTable {
  return tableAt(pyproject?.table ?? {}, 'tool');
}
