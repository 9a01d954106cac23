// The machine's Docker engine, where one answers, and an image to test with, which no registry is needed for.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';

const run = promisify(execFile);

/** Debian with a Python and a CA bundle, as an image of one layer. */
export const testBaseImage = 'assay-test-python:3.11';

/** Null where no engine answers. The image is made once, which takes a minute or two. */
export async function dockerEngine(): Promise<Docker | null> {
  const docker = new Docker({ socketPath: '/var/run/docker.sock' });
  try {
    await docker.ping();
  } catch {
    return null;
  }
  await ensureImage(docker);
  return docker;
}

async function ensureImage(docker: Docker): Promise<void> {
  const known = await docker.listImages({ filters: { reference: [testBaseImage] } });
  if (known.length > 0) return;
  const folder = await mkdtemp(join(tmpdir(), 'assay-image-'));
  try {
    const root = join(folder, 'root');
    const packages = 'python3,python3-venv,python3-pip,ca-certificates';
    await run('debootstrap', ['--variant=minbase', `--include=${packages}`, 'bookworm', root], {
      timeout: 600_000,
      maxBuffer: 64 * 2 ** 20,
    });
    const archive = join(folder, 'root.tar');
    await run('tar', ['-C', root, '--numeric-owner', '-cf', archive, '.']);
    const [repo, tag] = testBaseImage.split(':');
    await docker.importImage(archive, { repo, tag });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
