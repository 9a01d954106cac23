import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readConfig } from '#config/config.ts';
import { ConfigError, readEnvironment } from '#config/env.ts';

function configOf(variables: Record<string, string>) {
  return readConfig(readEnvironment(variables));
}

function problemsOf(variables: Record<string, string>): readonly string[] {
  try {
    configOf(variables);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

test('nothing set gives the embedded stack on loopback under the home folder', () => {
  const config = configOf({});
  expect(config).toMatchObject({
    home: join(homedir(), '.assay'),
    api: { host: '127.0.0.1', port: 7410, publicUrl: 'http://127.0.0.1:7410' },
    database: { kind: 'embedded' },
    temporal: { kind: 'embedded' },
    storage: { kind: 'disk', path: join(homedir(), '.assay', 'blobs') },
    runner: { kind: 'process' },
    pool: { name: null, slots: null, deviceIds: null },
  });
});

test('images are built on an official Python with half of the machine unless told otherwise', () => {
  expect(configOf({}).images).toMatchObject({ base: 'python:{python}-slim-bookworm', loginsFile: null });
  const told = { ASSAY_DOCKER_BASE: 'registry.test/py:{python}', ASSAY_DOCKER_BUILD_MEMORY_GIB: '4' };
  expect(configOf({ ...told, ASSAY_DOCKER_BUILD_CPUS: '3' }).images).toEqual({
    base: 'registry.test/py:{python}',
    buildCpus: 3,
    buildMemoryBytes: 4 * 1024 ** 3,
    loginsFile: null,
  });
});

test('the configuration is frozen through and through', () => {
  const config = configOf({});
  expect(Object.isFrozen(config)).toBe(true);
  expect(Object.isFrozen(config.api)).toBe(true);
});

test('every problem is reported at once, with the variable, what was found and what was expected', () => {
  expect(
    problemsOf({ ASSAY_PORT: '99999', ASSAY_SLOTS: 'many', ASSAY_STORAGE: 'tape', ASSAY_RUNNER: 'cloud' }),
  ).toEqual([
    'ASSAY_PORT is "99999": expected a port number from 1 to 65535',
    'ASSAY_STORAGE is "tape": this build knows only "disk" and "s3"',
    'ASSAY_RUNNER is "cloud": this build knows only "process" and "docker"',
    'ASSAY_SLOTS is "many": expected a number of stages from 1 to 1024',
  ]);
});

test('a database of your own is named as the application sees it; only what migrates it needs the owner', () => {
  expect(problemsOf({ ASSAY_DATABASE_OWNER_URL: 'postgres://owner@db/assay' })).toEqual([
    'ASSAY_DATABASE_OWNER_URL is set without ASSAY_DATABASE_URL: give both roles, or neither to use the embedded PostgreSQL.',
  ]);
  expect(configOf({ ASSAY_DATABASE_URL: 'postgres://app@db/assay' }).database).toMatchObject({ ownerUrl: null });
  const both = { ASSAY_DATABASE_URL: 'postgres://app@db/assay', ASSAY_DATABASE_OWNER_URL: 'postgres://owner@db/assay' };
  expect(configOf(both).database).toEqual({
    kind: 'url',
    appUrl: 'postgres://app@db/assay',
    ownerUrl: 'postgres://owner@db/assay',
  });
});

test('a bucket is named with its region or its server, and what is missing is told at once', () => {
  expect(problemsOf({ ASSAY_STORAGE: 's3', ASSAY_STORAGE_PATH: '/blobs', ASSAY_S3_ACCESS_KEY_ID: 'key' })).toEqual([
    'ASSAY_STORAGE_PATH is for blobs on disk, but ASSAY_STORAGE is "s3": unset one of them.',
    'ASSAY_S3_BUCKET is not set: name the bucket that ASSAY_STORAGE=s3 is to use.',
    'ASSAY_S3_REGION is not set: name the region of the bucket, or the server in ASSAY_S3_ENDPOINT.',
    'ASSAY_S3_ACCESS_KEY_ID and ASSAY_S3_SECRET_ACCESS_KEY belong together: give both, or neither to use the credentials of this machine.',
  ]);
  expect(problemsOf({ ASSAY_S3_BUCKET: 'assay', ASSAY_S3_REGION: 'eu-central-1' })).toEqual([
    'ASSAY_S3_REGION is set, but blobs are kept on disk: set ASSAY_STORAGE=s3, or unset it.',
    'ASSAY_S3_BUCKET is set, but blobs are kept on disk: set ASSAY_STORAGE=s3, or unset it.',
  ]);
});

test('a bucket of AWS is addressed by its name, one of another server by a path unless that is refused', () => {
  const aws = { ASSAY_STORAGE: 's3', ASSAY_S3_BUCKET: 'assay', ASSAY_S3_REGION: 'eu-central-1' };
  expect(configOf(aws).storage).toEqual({
    kind: 's3',
    endpoint: null,
    publicEndpoint: null,
    region: 'eu-central-1',
    bucket: 'assay',
    prefix: '',
    pathStyle: false,
  });
  const own = { ASSAY_STORAGE: 's3', ASSAY_S3_BUCKET: 'assay', ASSAY_S3_ENDPOINT: 'https://s3.example.org' };
  expect(configOf(own).storage).toMatchObject({ region: 'us-east-1', pathStyle: true });
  expect(configOf({ ...own, ASSAY_S3_PATH_STYLE: 'no' }).storage).toMatchObject({ pathStyle: false });
});

test('a prefix that would leave its place is refused', () => {
  for (const prefix of ['/assay', 'assay/', 'a//b', '../assay', 'a/../b', 'a b']) {
    const [problem] = problemsOf({ ASSAY_STORAGE: 's3', ASSAY_S3_PREFIX: prefix });
    expect(problem).toBe(`ASSAY_S3_PREFIX is "${prefix}": expected names between slashes, for example team/assay`);
  }
});

test('settings of the embedded Temporal beside the address of another one are a contradiction', () => {
  const problems = problemsOf({ ASSAY_TEMPORAL_ADDRESS: 'temporal:7233', ASSAY_TEMPORAL_UI_PORT: '8233' });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain('unset one of them');
});

test('a malformed address with a password in it is refused without showing it', () => {
  const [problem] = problemsOf({ ASSAY_DATABASE_URL: 'mysql://app:hunter2@db/assay' });
  expect(problem).toBe('ASSAY_DATABASE_URL: expected an address that starts with postgres:// or postgresql://');
});

test('an empty variable counts as not given', () => {
  expect(configOf({ ASSAY_PORT: '', ASSAY_HOME: '' }).api.port).toBe(7410);
});

test('proxies, certificates and the settings of pip and uv reach the installing processes, nothing else does', () => {
  const config = configOf({
    HTTPS_PROXY: 'http://proxy:3128',
    no_proxy: 'localhost',
    SSL_CERT_FILE: '/etc/ca.pem',
    PIP_FIND_LINKS: '/wheels',
    AWS_SECRET_ACCESS_KEY: 'never',
  });
  expect(config.installing.environment).toEqual({
    HTTPS_PROXY: 'http://proxy:3128',
    no_proxy: 'localhost',
    SSL_CERT_FILE: '/etc/ca.pem',
    PIP_FIND_LINKS: '/wheels',
  });
});

test('stages in containers use the engine of this machine and have an open network unless told otherwise', () => {
  expect(configOf({ ASSAY_RUNNER: 'docker' }).runner).toEqual({
    kind: 'docker',
    host: 'unix:///var/run/docker.sock',
    networkMax: 'open',
    networkAllow: [],
  });
  const given = {
    ASSAY_RUNNER: 'docker',
    ASSAY_NETWORK_MAX: 'platform',
    ASSAY_NETWORK_ALLOW: '10.20.0.0/16, 192.168.7.9/32',
  };
  expect(configOf(given).runner).toMatchObject({
    networkMax: 'platform',
    networkAllow: ['10.20.0.0/16', '192.168.7.9/32'],
  });
});

test('what is only for containers is refused beside the process runner, and so are ranges that are none', () => {
  expect(problemsOf({ ASSAY_NETWORK_MAX: 'none' })).toEqual([
    'ASSAY_NETWORK_MAX is for stages in containers: set ASSAY_RUNNER to docker, or unset it.',
  ]);
  for (const ASSAY_NETWORK_ALLOW of ['10.0.0.0', '10.0.0.0/33', '10.0.0.256/8', '10.0.0.0/8/8', 'fd00::/8', '-j/8']) {
    expect(problemsOf({ ASSAY_RUNNER: 'docker', ASSAY_NETWORK_ALLOW })[0]).toContain('expected ranges such as');
  }
  expect(problemsOf({ ASSAY_RUNNER: 'docker', ASSAY_DOCKER_HOST: 'tcp://10.0.0.1:2375' })[0]).toContain('unix://');
});
