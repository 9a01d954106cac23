/** Compiles one glob over repository paths; passed in, because core has no glob library. Dot files match too. */
export type CompileGlob = (pattern: string) => (path: string) => boolean;

/**
 * Whether a declared path names a file: the file itself, everything below a folder (with or without its trailing
 * slash), or a glob. Paths are relative and use `/`.
 */
export function declaredPathMatches(declared: string, compileGlob: CompileGlob): (path: string) => boolean {
  const base = declared.replace(/^\.\//, '').replace(/\/+$/, '');
  if (base === '' || base === '.') return () => true;
  const isSame = (path: string) => path === base || path.startsWith(`${base}/`);
  if (!/[*?[\]{}!]/.test(base)) return isSame;
  const matches = compileGlob(base);
  const matchesBelow = compileGlob(`${base}/**`);
  return (path) => isSame(path) || matches(path) || matchesBelow(path);
}
