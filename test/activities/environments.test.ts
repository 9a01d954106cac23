// Environments in images as the steps make and use them: over a real database, a real store and the machine's engine.
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEnvironments, type Environments } from '#activities/environments.ts';
import type { ProjectConfig } from '#core/project.ts';
import { connect, type Connection } from '#db/connect.ts';
import { getEnvironment } from '#db/environments.ts';
import { createContext, type EnvironmentOptions } from '#environment/context.ts';
import { removeTree } from '#environment/process/trees.ts';
import { createDiskStore } from '#storage/disk.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { createImageShop, type ImageShop } from '#test/environment/image-shop.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';

const docker = await dockerEngine();

describe.skipIf(docker === null)('environments in images (skipped: no Docker engine)', () => {
  let shop: ImageShop;
  let database: TestDatabase;
  let connection: Connection;
  let home: string;
  let store: BlobStore;
  beforeAll(async () => {
    if (docker === null) throw new TypeError('skipped without an engine');
    shop = await createImageShop(docker);
    shop.wheel('alpha', '1.0');
    shop.wheel('beta', '1.0');
    database = await createTestDatabase();
    connection = connect(database.appUrl);
    home = await mkdtemp(join(tmpdir(), 'assay-image-steps-'));
    await chmod(home, 0o711);
    store = await createDiskStore({ root: join(home, 'blobs'), durability: 'rename-only' });
  });
  afterAll(async () => {
    for (const { Id } of await shop.docker.listImages())
      if (images.has(Id)) await shop.docker.getImage(Id).remove({ force: true });
    await shop.remove();
    await connection.close();
    await database.drop();
    await removeTree(home);
  });
  const images = new Set<string>();

  const nodeAt = async (options: Partial<EnvironmentOptions> = {}): Promise<Environments> =>
    createEnvironments({ db: connection.db, store, context: await shop.node(options) });
  const asked = { requirements: null, python: null, image: null, dockerfile: null } as ProjectConfig;
  const quiet = (): void => undefined;
  const noTree = { config: asked, openRoot: () => Promise.reject(new Error('the tree is not needed')) };

  test('are built once, recorded with base and image, and used on another node without its tree', async () => {
    const root = await shop.checkout({ 'requirements.txt': 'alpha\n', 'train.py': 'import alpha\n' });
    const control = await nodeAt();
    const built = await control.build(root, asked, quiet);
    images.add(built.facts.image ?? '');
    const { Id: baseId } = await shop.docker.getImage(testBaseImage).inspect();
    expect(built.identity).toMatchObject({ base: baseId, python: expect.stringMatching(/^3\.11\./) });
    expect(built.facts).toMatchObject({
      base: { kind: 'default', reference: testBaseImage, digest: baseId },
      image: expect.stringMatching(/^sha256:/),
      lock: 'resolved',
      environment: 'built',
    });
    expect(await getEnvironment(connection.db, built.environmentKey)).toMatchObject({ base: baseId });
    const unchanged = await control.build(root, asked, quiet);
    expect(unchanged.facts).toMatchObject({ lock: 'hit', environment: 'hit', image: built.facts.image });

    const node = await nodeAt({ cacheDir: join(home, 'node-cache') });
    const shared = await node.use(built.environmentKey, noTree, quiet);
    const stage = await node.forStage(shared, { config: asked, sourceDir: root, target: join(home, 'overlay') });
    expect(stage).toMatchObject({ image: built.facts.image, venv: '/opt/assay/environment' });
    expect(await shop.run(stage.image ?? '', ['python', '-c', 'import alpha; print("alpha", alpha.version)'])).toBe(
      'alpha 1.0',
    );
  });

  test('are made again on a node whose engine lost the image', async () => {
    const root = await shop.checkout({ 'requirements.txt': 'beta\n' });
    const { environmentKey, facts } = await (await nodeAt()).build(root, asked, quiet);
    await shop.docker.getImage(facts.image ?? '').remove({ force: true });
    const node = await nodeAt();
    const [one, other] = await Promise.all([1, 2].map(() => node.use(environmentKey, noTree, quiet)));
    expect([one, other].filter((shared) => shared?.hit)).toHaveLength(1);
    const found = one && 'image' in one ? one.image : '';
    expect(other).toMatchObject({ image: found });
    images.add(found);
  });

  test('of a process runner are refused in containers, and the other way round, saying what to do', async () => {
    const root = await shop.checkout({ 'requirements.txt': 'alpha\n' });
    const { environmentKey } = await (await nodeAt()).build(root, asked, quiet);
    const context = createContext({ cacheDir: join(home, 'process-cache'), variables: process.env });
    const processes = createEnvironments({ db: connection.db, store, context });
    await expect(processes.use(environmentKey, noTree, quiet)).rejects.toMatchObject({
      code: 'environment-unsupported',
      message: expect.stringContaining('same ASSAY_RUNNER'),
    });
  });
});
