// Which program this is: a checkout of Assay, or the package that a server hands out.
import { readFileSync } from 'node:fs';

export interface Installation {
  /** In a package with a digest of what it is made of, for example 0.1.0+5f0c2a9e41d7. */
  version: string;
  /** A package holds no server; what starts one is elsewhere. */
  isClientOnly: boolean;
}

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };

export const installation: Installation = { version: manifest.version, isClientOnly: manifest.version.includes('+') };

/** Whether a server of the version `theirs` hands out another program than this one. A checkout has no digest to compare. */
export function isOtherVersion(theirs: string, { version, isClientOnly }: Installation = installation): boolean {
  return isClientOnly ? theirs !== version : release(theirs) !== release(version);
}

function release(version: string): string {
  return version.split('+')[0] ?? version;
}

export function howToInstall(url: string): string {
  return `npm install -g ${url}/assay.tgz`;
}
