// Environments that outlive their index: over a real database, a real store, a real index that goes away, and uv.
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEnvironments, type SharedEnvironment } from '#activities/environments.ts';
import { ensureBuilder } from '#activities/runners/stage-user.ts';
import type { ProjectConfig } from '#core/project.ts';
import { connect, type Connection } from '#db/connect.ts';
import { listKeptWheels } from '#db/environments.ts';
import { createContext, type EnvironmentOptions } from '#environment/context.ts';
import { removeTree } from '#environment/process/trees.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { createDiskStore } from '#storage/disk.ts';
import { markDamage } from '#storage/mark-damage.ts';
import { createImageShop } from '#test/environment/image-shop.ts';
import { createWorkshop, ownBackend, python, sharedUv, type Workshop } from '#test/environment/workshop.ts';
import { flipByte } from '#test/storage/s3-stores.ts';
import { dockerEngine } from '#test/support/docker.ts';
import { type PackageIndex, startPackageIndex } from '#test/support/package-index.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';

let database: TestDatabase;
let connection: Connection;
let home: string;
let store: BlobStore;
beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl);
  home = await mkdtemp(join(tmpdir(), 'assay-mirror-'));
  await chmod(home, 0o711);
  const disk = await createDiskStore({ root: join(home, 'blobs'), durability: 'rename-only' });
  store = markDamage(disk, connection.db);
});
afterAll(async () => {
  await connection?.close();
  await database?.drop();
  await removeTree(home);
});

const asked = { requirements: null, python: null, image: null, dockerfile: null } as ProjectConfig;
const quiet = (): void => undefined;
const noTree = { config: asked, openRoot: () => Promise.reject(new Error('the tree is not needed')) };
const objectOf = (sha256: string) => join(home, 'blobs', 'objects', sha256.slice(0, 2), sha256);

describe('an environment whose wheels are kept', () => {
  let shop: Workshop;
  let index: PackageIndex;
  let nodes = 0;
  beforeAll(async () => {
    shop = await createWorkshop();
    await chmod(shop.dir, 0o711);
    shop.wheel('alpha', '1.0');
    shop.wheel('beta', '0.3', { requires: ['alpha>=1'] });
    shop.wheel('gamma', '3.0');
    sdist('homemade', '1.5');
    index = await startPackageIndex(shop.index);
  });
  afterAll(async () => {
    await index.close();
    await shop.remove();
  });

  /** An archive that no index has a wheel of. */
  function sdist(name: string, version: string): void {
    const script = `
import io, json, sys, tarfile
folder, name, version, files = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
files['PKG-INFO'] = f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n'
with tarfile.open(f'{folder}/{name}-{version}.tar.gz', 'w:gz') as archive:
    for path, text in files.items():
        info = tarfile.TarInfo(f'{name}-{version}/{path}')
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
`;
    python(script, shop.index, name, version, JSON.stringify(ownBackend));
  }

  /** A node that has nothing but uv. */
  async function newNode(options: Partial<EnvironmentOptions> = {}) {
    nodes += 1;
    const cacheDir = join(home, `node-${nodes}`);
    await mkdir(cacheDir);
    const context = createContext({
      cacheDir,
      variables: process.env,
      uvPath: await sharedUv(),
      pythonDownloads: false,
      builder: await ensureBuilder(),
      index: { defaultIndex: index.url },
      ...options,
    });
    return { ...createEnvironments({ db: connection.db, store, context }), counters: context.counters };
  }

  async function checkout(requirements: string): Promise<string> {
    const root = await shop.checkout({ 'requirements.txt': requirements });
    await chmod(root, 0o755);
    return root;
  }

  const ours = () => index.downloads.filter(({ agent }) => agent === 'assay').map(({ file }) => file);

  function imports(environment: SharedEnvironment, script: string): string {
    if ('image' in environment) throw new TypeError('made for processes');
    return execFileSync(environment.python, ['-I', '-c', script], { encoding: 'utf8' }).trim();
  }

  test('is made on a node with empty caches when the index is gone, also what was built of an archive', async () => {
    const root = await checkout('beta\nhomemade\n');
    const built = await (await newNode()).build(root, asked, quiet);
    expect(built.facts).toMatchObject({ environment: 'built', from: 'index', wheels: 3 });
    const kept = await listKeptWheels(connection.db, built.environmentKey);
    expect(kept?.map(({ filename, origin }) => `${filename} ${origin}`)).toEqual([
      'alpha-1.0-py3-none-any.whl index',
      'beta-0.3-py3-none-any.whl index',
      'homemade-1.5-py3-none-any.whl built',
    ]);
    // What is kept is what was installed, and not a second copy.
    expect(ours().filter((file) => file.startsWith('alpha'))).toHaveLength(1);

    await index.close();
    const node = await newNode();
    const environment = await node.use(built.environmentKey, noTree, quiet);
    expect(environment.packages).toMatchObject({ from: 'mirror', wheels: 3 });
    expect(imports(environment, 'import beta, homemade; print(beta.version, homemade.answer)')).toBe('0.3 42');
    const again = await (await newNode()).build(root, asked, quiet);
    expect(again).toMatchObject({ environmentKey: built.environmentKey, facts: { lock: 'hit', from: 'mirror' } });
    index = await startPackageIndex(shop.index);
  });

  test('does not notice that a version was yanked, or was deleted', async () => {
    const root = await checkout('gamma==3.0\n');
    const built = await (await newNode()).build(root, asked, quiet);
    index.yanked.add('gamma-3.0-py3-none-any.whl');
    const yanked = await (await newNode()).use(built.environmentKey, noTree, quiet);
    expect(yanked.packages?.from).toBe('mirror');
    await rm(join(shop.index, 'gamma-3.0-py3-none-any.whl'));
    const deleted = await (await newNode()).use(built.environmentKey, noTree, quiet);
    expect(imports(deleted, 'import gamma; print(gamma.version)')).toBe('3.0');
    shop.wheel('gamma', '3.0');
  });

  test('takes a damaged wheel from the index again, which heals it', async () => {
    const root = await checkout('alpha==1.0\n');
    const built = await (await newNode()).build(root, asked, quiet);
    const [wheel] = (await listKeptWheels(connection.db, built.environmentKey)) ?? [];
    const sha256 = wheel?.sha256 ?? '';
    await flipByte(objectOf(sha256));
    const environment = await (await newNode()).use(built.environmentKey, noTree, quiet);
    expect(environment.packages?.from).toBe('index');
    expect(environment.packages?.notes[0]).toContain(
      `alpha-1.0-py3-none-any.whl can not be used. The bytes of blob ${sha256}`,
    );
    const healed = await (await newNode()).use(built.environmentKey, noTree, quiet);
    expect(healed.packages?.from).toBe('mirror');
  });

  test('is kept also where the index asks for a login', async () => {
    index.requireLogin('me:secret');
    const url = new URL(index.url);
    const login = { defaultIndex: index.url, credentials: { [url.host]: { username: 'me', password: 'secret' } } };
    shop.wheel('delta', '1.0');
    const root = await checkout('delta\n');
    const built = await (await newNode({ index: login })).build(root, asked, quiet);
    expect(built.facts).toMatchObject({ from: 'index', wheels: 1 });
    index.requireLogin(null);
  });

  test('of the same wheels is made of the files of this machine, without the index', async () => {
    const node = await newNode();
    await node.build(await checkout('beta\n'), asked, quiet);
    const before = ours().length;
    const lines: string[] = [];
    await node.build(await checkout('beta\ndelta\n'), asked, (line) => lines.push(line));
    expect(ours().slice(before)).toEqual([]);
    // uv unpacked the wheel before, and says what it had to prepare now.
    expect(lines.join('\n')).toMatch(/Prepared 1 package\b/);
  });
});

const docker = await dockerEngine();

describe.skipIf(docker === null)('in images (skipped: no Docker engine)', () => {
  test('an environment is made by an engine that lost it when the files are gone from the index', async () => {
    if (docker === null) throw new TypeError('skipped without an engine');
    const shop = await createImageShop(docker);
    try {
      const file = shop.wheel('alpha', '1.0');
      const node = async (options: Partial<EnvironmentOptions> = {}) =>
        createEnvironments({ db: connection.db, store, context: await shop.node(options) });
      const root = await shop.checkout({ 'requirements.txt': 'alpha\n' });
      const built = await (await node()).build(root, asked, quiet);
      expect(built.facts).toMatchObject({ from: 'index', wheels: 1, notes: [] });
      await shop.docker.getImage(built.facts.image ?? '').remove({ force: true });
      await rm(file);
      const again = await (await node({ cacheDir: join(home, 'image-node') })).use(built.environmentKey, noTree, quiet);
      expect(again.packages).toMatchObject({ from: 'mirror', wheels: 1 });
      const image = 'image' in again ? again.image : '';
      expect(await shop.run(image, ['python', '-c', 'import alpha; print("alpha", alpha.version)'])).toBe('alpha 1.0');
      await shop.docker.getImage(image).remove({ force: true });
    } finally {
      await shop.remove();
    }
  });
});
