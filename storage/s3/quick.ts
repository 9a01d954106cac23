// The two requests that are sent by the ten thousand, getting and putting one object, without the SDK's layers between:
// its signer, its credentials, its connections. Whatever is not plainly a success is asked again through the SDK, which
// repeats, corrects clocks and explains.
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { IncomingMessage } from 'node:http';
import type { Bucket } from './bucket.ts';

/** What the SDK makes of a request before it signs it. */
interface SdkRequest {
  method: string;
  protocol: string;
  hostname: string;
  port?: number;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body?: unknown;
  clone(): SdkRequest;
}

export interface QuickAnswer {
  status: number;
  headers: Record<string, string>;
  body: IncomingMessage;
}

export interface QuickRequest {
  method: 'GET' | 'PUT';
  key: string;
  headers: Record<string, string>;
  body?: Buffer;
}

/** Null when there was no answer at all. The body has to be read or destroyed. */
export type SendQuickly = (request: QuickRequest) => Promise<QuickAnswer | null>;

/** Lists the bucket once, which says whether it can be used, and learns from that request how it is addressed. */
export async function openQuickly({ client, name, prefix }: Omit<Bucket, 'quickly'>): Promise<SendQuickly> {
  const command = new ListObjectsV2Command({ Bucket: name, Prefix: prefix, MaxKeys: 1 });
  let seen: SdkRequest | null = null;
  command.middlewareStack.add(
    (next) => (args) => {
      seen = args.request as SdkRequest;
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'howTheBucketIsAddressed' },
  );
  await client.send(command);
  const model = seen as SdkRequest | null;
  if (model === null) throw new Error('The request to the bucket was not seen.');
  const host = model.headers['host'] ?? (model.port === undefined ? model.hostname : `${model.hostname}:${model.port}`);
  const basePath = model.path.replace(/\/$/, '');
  const region = await client.config.region();

  return async ({ method, key, headers, body }) => {
    const request = model.clone();
    request.method = method;
    request.path = `${basePath}/${key}`;
    request.query = {};
    request.headers = { host, ...headers };
    request.body = body;
    const signer = await client.config.signer();
    const signingDate = new Date(Date.now() + client.config.systemClockOffset);
    try {
      const signed = await signer.sign(request, { signingDate, signingRegion: region, signingService: 's3' });
      const { response } = await client.config.requestHandler.handle(signed);
      const answer = response.body as IncomingMessage;
      // The reader gets the error from the iterator; one that comes before it reads must not end the process.
      answer.on('error', () => undefined);
      return { status: response.statusCode, headers: response.headers, body: answer };
    } catch {
      return null; // The same request through the SDK tells what is wrong.
    }
  };
}
