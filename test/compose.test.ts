// docker-compose.yml and .env.example against what the programs read. Whether the file is one that Compose takes, Compose
// itself says, where it is installed.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readTeamConfig } from '#config/config.ts';
import { readEnvironment, variableNames } from '#config/env.ts';

interface Service {
  image?: string;
  command?: string[];
  restart?: string;
  environment?: Record<string, string>;
  healthcheck?: object;
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  logging?: object;
}

const text = readFileSync('docker-compose.yml', 'utf8');
const example = readFileSync('.env.example', 'utf8');
const { services } = parse(text, { merge: true }) as { services: Record<string, Service> };
const asked = [...text.matchAll(/\$\{(\w+)(:[?-][^}]*)?\}/g)].map(([, name = '', rest = '']) => ({ name, rest }));
const shown = [...example.matchAll(/^(#?)([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, off, name = '', value = '']) => ({
  name,
  value,
  isRequired: off === '',
}));
const isSecret = (name: string) => /PASSWORD|SECRET|ACCESS_KEY/.test(name);

describe('docker-compose.yml', () => {
  it('requires every secret and gives none a default', () => {
    const lenient = asked.filter(({ name, rest }) => isSecret(name) && !rest.startsWith(':?'));
    expect(lenient).toEqual([]);
    expect(asked.filter(({ name }) => isSecret(name)).length).toBeGreaterThan(0);
    for (const [name, { environment = {} }] of Object.entries(services)) {
      const clear = Object.entries(environment).filter(([key, value]) => isSecret(key) && !value.startsWith('${'));
      expect({ name, clear }).toEqual({ name, clear: [] });
    }
  });

  it('asks only for what .env.example names', () => {
    const names = new Set(shown.map(({ name }) => name));
    expect(asked.filter(({ name }) => !names.has(name))).toEqual([]);
  });

  it('sets only variables that the programs know', () => {
    const known = new Set<string>(variableNames);
    for (const name of ['migrate', 'api', 'control', 'stage']) {
      const unknown = Object.keys(services[name]?.environment ?? {}).filter((key) => !known.has(key));
      expect({ name, unknown }).toEqual({ name, unknown: [] });
    }
  });

  it('gives every program a configuration that it takes', () => {
    const values = Object.fromEntries(
      asked.map(({ name, rest }) => [
        name,
        rest.startsWith(':-') ? rest.slice(2) : name === 'ASSAY_PUBLIC_URL' ? 'https://assay.example.org' : 'abc',
      ]),
    );
    values.ASSAY_SECRET_KEY = Buffer.alloc(32).toString('base64');
    const filled = (given: string) =>
      given.replaceAll(/\$\{(\w+)(:[?-][^}]*)?\}/g, (_, name: string) => values[name] ?? '');
    for (const name of ['migrate', 'api', 'control', 'stage']) {
      const given = Object.entries(services[name]?.environment ?? {}).map(([key, value]) => [key, filled(value)]);
      const config = readTeamConfig(readEnvironment(Object.fromEntries(given) as NodeJS.ProcessEnv));
      expect(config.runner.kind).toBe('docker');
      expect(config.storage.kind).toBe('s3');
    }
  });

  it('opens nothing but the API beyond loopback unless it is told to', () => {
    const ports = Object.entries(services).flatMap(([name, { ports: open = [] }]) =>
      open.map((port) => `${name} ${port}`),
    );
    expect(
      ports.filter((port) => !/^\w[\w-]* (?:127\.0\.0\.1|\$\{ASSAY_(?:PRIVATE_)?ADDRESS:-127\.0\.0\.1\}):/.test(port)),
    ).toEqual([]);
  });

  it('lets the stage worker find the servers where they listen', () => {
    const where = '${ASSAY_PRIVATE_ADDRESS:-127.0.0.1}';
    const { environment = {} } = services.stage ?? {};
    const addresses = ['ASSAY_DATABASE_URL', 'ASSAY_TEMPORAL_ADDRESS', 'ASSAY_S3_ENDPOINT'].map(
      (name) => environment[name],
    );
    for (const [index, port] of [5432, 7233, 7070].entries()) {
      expect(addresses[index]).toContain(`${where}:${port}`);
      expect(Object.values(services).flatMap(({ ports = [] }) => ports)).toContain(`${where}:${port}:${port}`);
    }
  });

  it('starts everything again but what runs once, waits for it, checks its health and bounds its logs', () => {
    for (const [name, service] of Object.entries(services)) {
      const once = ['migrate', 'temporal-schema'].includes(name);
      expect({ name, restart: service.restart }).toEqual({ name, restart: once ? 'on-failure:10' : 'unless-stopped' });
      expect(service.logging, name).toBeDefined();
      if (!once && name !== 'temporal-ui') expect(service.healthcheck, name).toBeDefined();
    }
    for (const name of ['api', 'control', 'stage'])
      expect(services[name]?.depends_on).toEqual({ migrate: { condition: 'service_completed_successfully' } });
  });

  it('is taken by Compose, which refuses it without the secrets (skipped: no docker-compose)', async ({ skip }) => {
    const compose = (env: Record<string, string>) =>
      promisify(execFile)('docker-compose', ['--file', 'docker-compose.yml', 'config', '--quiet'], {
        env: { PATH: process.env.PATH, ...env },
      });
    const missing = await compose({}).catch((error: NodeJS.ErrnoException & { stderr?: string }) => error);
    if (missing instanceof Error && missing.code === 'ENOENT') skip();
    expect(missing instanceof Error ? missing.stderr : 'taken').toContain('set it in .env');
    const required = asked.filter(({ rest }) => rest.startsWith(':?'));
    await expect(compose(Object.fromEntries(required.map(({ name }) => [name, 'abc'])))).resolves.toBeDefined();
  }, 60_000);
});

describe('.env.example', () => {
  it('has every variable of the programs once, and only known ones', () => {
    const names = shown.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    expect(variableNames.filter((name) => !names.includes(name))).toEqual([]);
    const known = new Set<string>([...variableNames, ...asked.map(({ name }) => name)]);
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });

  it('leaves what is required empty, and that alone is required', () => {
    const required = shown.filter(({ isRequired }) => isRequired);
    expect(required.filter(({ value }) => value !== '')).toEqual([]);
    const wanted = new Set(asked.filter(({ rest }) => rest.startsWith(':?')).map(({ name }) => name));
    expect(new Set(required.map(({ name }) => name))).toEqual(wanted);
  });
});

describe('docs/operator.md', () => {
  it('explains every variable', () => {
    const guide = readFileSync('docs/operator.md', 'utf8');
    expect(variableNames.filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
  });
});
