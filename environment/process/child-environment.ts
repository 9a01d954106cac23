// What an installing process may see of ours: how to reach an index, whom to trust, which compiler to use.

/** Where packages come from. Addresses are plain; credentials are apart and reach only the installing process. */
export interface IndexSettings {
  /** Replaces the default index. */
  defaultIndex?: string | null | undefined;
  extraIndexes?: readonly string[];
  /** Directories or pages with distributions. */
  findLinks?: readonly string[];
  /** True uses `findLinks` alone. */
  noIndex?: boolean;
  /** By host name of the index. */
  credentials?: Readonly<Record<string, { username: string; password: string }>>;
}

const passed =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|https?_proxy|no_proxy|all_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|SSH_AUTH_SOCK|GIT_SSL_CAINFO|NETRC|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS|CUDA_HOME|MACOSX_DEPLOYMENT_TARGET|PIP_(CERT|PROXY|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT|TRUSTED_HOST|CONFIG_FILE|NO_INDEX)|UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|HTTP_TIMEOUT|HTTP_RETRIES|CONCURRENT_\w+|INSECURE_HOST|SYSTEM_CERTS|NATIVE_TLS|KEYRING_PROVIDER|EXCLUDE_NEWER|TORCH_BACKEND|PYTHON_INSTALL_MIRROR))$/i;

/** Certificates, proxies, compilers and index settings of the given environment; nothing else of it. */
export function childEnvironment(given: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(given).filter(
    (entry): entry is [string, string] => Boolean(entry[1]) && passed.test(entry[0]),
  );
  return { ...Object.fromEntries(kept), LC_ALL: 'C.UTF-8', PYTHONIOENCODING: 'utf-8', GIT_TERMINAL_PROMPT: '0' };
}

/** The variables by which uv learns the indexes. What pip is told by variables holds for uv too. */
export function indexEnvironment(
  index: IndexSettings,
  given: Readonly<Record<string, string>>,
): Record<string, string> {
  const defaultIndex = index.defaultIndex ?? given.UV_DEFAULT_INDEX ?? given.UV_INDEX_URL ?? given.PIP_INDEX_URL;
  const others = given.UV_INDEX ?? given.UV_EXTRA_INDEX_URL ?? given.PIP_EXTRA_INDEX_URL;
  const extra = [...(index.extraIndexes ?? []), ...(others?.split(/\s+/) ?? [])];
  return {
    ...(defaultIndex ? { UV_DEFAULT_INDEX: withCredentials(defaultIndex, index) } : {}),
    ...(extra.length > 0 ? { UV_INDEX: extra.map((url) => withCredentials(url, index)).join(' ') } : {}),
  };
}

/** Arguments for settings that uv takes on its command line; none of them is secret. */
export function indexArguments(index: IndexSettings): string[] {
  return [
    ...(index.noIndex ? ['--no-index'] : []),
    ...(index.findLinks ?? []).flatMap((link) => ['--find-links', link]),
  ];
}

/** The index settings that decide a resolution, without credentials: part of the key of a lock. */
export function indexIdentity(index: IndexSettings, given: Readonly<Record<string, string | undefined>>): string[] {
  const env = indexEnvironment({ ...index, credentials: {} }, childEnvironment(given));
  const addresses = `${env.UV_DEFAULT_INDEX ?? ''} ${env.UV_INDEX ?? ''}`;
  return [
    addresses.replaceAll(/(https?:\/\/)[^\s/@]+@/g, '$1').trim(),
    ...(index.noIndex ? ['no-index'] : []),
    ...(index.findLinks ?? []),
    ...(given.UV_EXCLUDE_NEWER ? [`exclude-newer ${given.UV_EXCLUDE_NEWER}`] : []),
    ...(given.UV_TORCH_BACKEND ? [`torch-backend ${given.UV_TORCH_BACKEND}`] : []),
  ].filter(Boolean);
}

function withCredentials(address: string, index: IndexSettings): string {
  if (!URL.canParse(address)) return address;
  const url = new URL(address);
  const login = index.credentials?.[url.host] ?? index.credentials?.[url.hostname];
  if (login === undefined || url.username !== '') return address;
  url.username = encodeURIComponent(login.username);
  url.password = encodeURIComponent(login.password);
  return url.href;
}
