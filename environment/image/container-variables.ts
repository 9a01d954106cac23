// The environment of an installing container: indexes, proxies and certificates as here, programs and folders of its own.
import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';

const ofThisMachine =
  /^(PATH|TMPDIR|LOGNAME|USER|SSH_AUTH_SOCK|CC|CXX|(C|CXX|LD)FLAGS|CUDA_HOME|MACOSX_DEPLOYMENT_TARGET|UV_PYTHON_INSTALL_DIR)$/;
const namesFile = /^(SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|GIT_SSL_CAINFO|NETRC|PIP_(CERT|CONFIG_FILE))$/;

/** Files that variables name are mounted where they lie here; one that is not here is not passed on. */
export function containerVariables(
  given: Readonly<Record<string, string>>,
  searchPath: string,
): { env: Record<string, string>; files: string[] } {
  const env: Record<string, string> = {};
  const files: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (ofThisMachine.test(name) || (name === 'SSL_CERT_DIR' && given.SSL_CERT_FILE !== undefined)) continue;
    if (namesFile.test(name)) {
      if (!isAbsolute(value) || !existsSync(value)) continue;
      files.push(value);
    }
    env[name] = value;
  }
  return { env: { ...env, PATH: searchPath, USER: 'assay-build', TMPDIR: '/tmp' }, files };
}
