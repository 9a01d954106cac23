// The environment and configuration under which every git process of the server runs. Nothing a repository, a user
// account or the machine configures reaches git except what is listed here.

/** `remote` admits https and ssh; `none` admits no transport at all, which is right for everything local. */
export type Transport = 'none' | 'remote';

// One allocation above this kills git instead of the machine: a tiny delta can claim to unpack to gigabytes.
const allocationBytesMax = 2 * 1024 ** 3;

const passedThrough = [
  'PATH',
  'TMPDIR',
  'GIT_SSL_CAINFO',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'HTTPS_PROXY',
  'https_proxy',
  'ALL_PROXY',
  'all_proxy',
  'NO_PROXY',
  'no_proxy',
];

const baseConfig: Record<string, string> = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.attributesFile': '/dev/null',
  'core.excludesFile': '/dev/null',
  'core.protectHFS': 'true',
  'core.protectNTFS': 'true',
  'core.symlinks': 'true',
  'core.autocrlf': 'false',
  'core.bigFileThreshold': '64m',
  'core.fsync': 'committed,loose-object,reference',
  'core.filesRefLockTimeout': '1000',
  'core.packedRefsTimeout': '5000',
  'credential.helper': '',
  'fetch.fsckObjects': 'true',
  'fetch.recurseSubmodules': 'false',
  'fetch.unpackLimit': '1',
  'fetch.writeCommitGraph': 'false',
  'gc.auto': '0',
  'gc.autoDetach': 'false',
  'http.followRedirects': 'false',
  'http.lowSpeedLimit': '1000',
  'http.lowSpeedTime': '60',
  'maintenance.auto': 'false',
  'protocol.version': '2',
  'protocol.ext.allow': 'never',
  'safe.bareRepository': 'explicit',
  'submodule.recurse': 'false',
  'transfer.bundleURI': 'false',
  'transfer.credentialsInUrl': 'die',
  'transfer.fsckObjects': 'true',
};

// Findings that old, honest histories are full of and that cannot harm a reader. Everything else stays an error.
export const fsckTolerated = [
  'badDate',
  'badDateOverflow',
  'badEmail',
  'badFilemode',
  'badName',
  'badTimezone',
  'missingEmail',
  'missingNameBeforeEmail',
  'missingSpaceBeforeDate',
  'missingSpaceBeforeEmail',
  'nulInCommit',
  'zeroPaddedDate',
  'zeroPaddedFilemode',
];

/** The configuration as GIT_CONFIG_COUNT/KEY/VALUE variables, which every child of git inherits. */
function configVariables(config: Record<string, string>): Record<string, string> {
  const entries = Object.entries(config);
  const variables: Record<string, string> = { GIT_CONFIG_COUNT: String(entries.length) };
  entries.forEach(([key, value], n) => {
    variables[`GIT_CONFIG_KEY_${n}`] = key;
    variables[`GIT_CONFIG_VALUE_${n}`] = value;
  });
  return variables;
}

function inherited(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of passedThrough) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  // Debian's git uses GnuTLS, which does not read SSL_CERT_FILE by itself.
  const authority = kept['GIT_SSL_CAINFO'] ?? kept['SSL_CERT_FILE'];
  return authority === undefined ? kept : { ...kept, GIT_SSL_CAINFO: authority };
}

export function gitEnvironment(transport: Transport, config: Record<string, string> = {}): Record<string, string> {
  const fsck = Object.fromEntries(fsckTolerated.map((id) => [`fetch.fsck.${id}`, 'ignore']));
  return {
    ...inherited(),
    ...configVariables({ ...baseConfig, ...fsck, ...config }),
    LC_ALL: 'C',
    HOME: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_NO_LAZY_FETCH: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_PROTOCOL_FROM_USER: '0',
    GIT_ALLOW_PROTOCOL: transport === 'remote' ? 'https:ssh' : 'none',
    GIT_ALLOC_LIMIT: String(allocationBytesMax),
  };
}
