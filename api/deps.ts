// What the API is built from. Nothing here reads the environment or opens a port.
import type { KeyObject } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type { FastifyBaseLogger } from 'fastify';
import type { RunnerOffer } from '#core/network.ts';
import type { Connection } from '#db/connect.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { LakeEngine } from '#lake/engine/engine.ts';
import type { BlobStore } from '#storage/blob-store.ts';

export interface ApiFacts {
  /** Where people reach this server; without a slash at the end. */
  publicUrl: string;
  /** A server bound to loopback answers only requests that were addressed to loopback: DNS may be lied to. */
  isLoopback: boolean;
  /** How the nodes of this server run stages. */
  offer: RunnerOffer;
  /** For links to executions; null when no UI is known. */
  temporalUi: { url: string; namespace: string } | null;
  /** Uploads wait here, on the same disk as the blobs where possible. */
  temporaryDir: string;
  /** What can be made again: the package of the command line. */
  cacheDir: string;
  /** Of one uploaded file: a blob, a segment, a bundle. */
  uploadBytesMax: number;
}

export interface ApiDeps {
  connection: Connection;
  store: BlobStore;
  mirrors: Mirrors;
  lakeEngine: LakeEngine;
  /** Null while there is no connection; every use has a deadline. */
  temporal: () => Client | null;
  /** Seals the secrets of projects. */
  secretsKey: KeyObject;
  facts: ApiFacts;
  log?: FastifyBaseLogger;
}
