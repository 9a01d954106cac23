// A real S3 server over a folder, to be run by a guard. Used by the tests and the benchmarks.
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Service } from '#embedded/guard.ts';
import { freePort } from '#embedded/ports.ts';
import { installGoProgram, versitygw } from '#embedded/setup/go-program.mjs';
import { untilItWorks } from '#worker/wait.ts';

const readyTimeoutMs = 60_000;

export interface S3Address {
  endpoint: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** Each bucket is a folder here, each object a file in it. */
  folder: string;
}

export interface S3Server extends S3Address {
  service: Service;
  /** Resolves when the server answers. */
  ready(): Promise<void>;
}

/** A server with keys of its own on a free port. Its program is built first where there is none, which takes minutes. */
export async function s3ServerIn(home: string): Promise<S3Server> {
  const program = await installGoProgram(versitygw, process.env.ASSAY_VERSITYGW_BIN);
  const directory = join(home, 's3');
  const folder = join(directory, 'buckets');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const address = `127.0.0.1:${await freePort()}`;
  const credentials = { accessKeyId: randomKey(10), secretAccessKey: randomKey(20) };
  const region = 'eu-test-1';
  return {
    service: {
      name: 's3',
      command: [
        program,
        '--port',
        address,
        '--region',
        region,
        '--keep-alive',
        '--quiet',
        '--health',
        '/health',
      ].concat(['posix', folder]),
      env: {
        HOME: directory,
        PATH: '/usr/bin:/bin',
        ROOT_ACCESS_KEY_ID: credentials.accessKeyId,
        ROOT_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
      directory,
      stopSignal: 'SIGTERM',
      stopSeconds: 5,
      log: join(directory, 's3.log'),
    },
    endpoint: `http://${address}`,
    region,
    credentials,
    folder,
    ready: () =>
      untilItWorks('The S3 server', readyTimeoutMs, async () => {
        const response = await fetch(`http://${address}/health`);
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
      }),
  };
}

function randomKey(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
