// The plainest client an S3 server can have: requests signed without looking at their bodies, which are not hashed either.
// What it reaches is what the server allows.
import { createHash, createHmac } from 'node:crypto';
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { S3Address } from '#test/support/s3-server.ts';

export interface RawClient {
  /** Answers the ETag. */
  put(path: string, chunks: readonly Buffer[]): Promise<string>;
  /** Reads the body, or a part of it, and forgets it; answers how many bytes there were. */
  get(path: string, range?: { start: number; end: number }): Promise<number>;
  post(path: string, body: string): Promise<string>;
  close(): void;
}

export function rawClient({ endpoint, region, credentials }: S3Address, connections: number): RawClient {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const { hostname, port, host } = new URL(endpoint);
  const sign = signer(host, region, credentials);

  function send(method: string, path: string, headers: Record<string, string>, chunks: readonly Buffer[]) {
    const { promise, resolve, reject } = Promise.withResolvers<import('node:http').IncomingMessage>();
    const asked = request({ hostname, port, method, path, agent, headers: { ...headers, ...sign(method, path) } });
    asked.on('response', (answer) => {
      if (answer.statusCode !== undefined && answer.statusCode < 300) resolve(answer);
      else {
        void text(answer).then(
          (said) => reject(new Error(`${method} ${path}: HTTP ${answer.statusCode} ${said}`)),
          reject,
        );
      }
    });
    asked.on('error', reject);
    for (const chunk of chunks) asked.write(chunk);
    asked.end();
    return promise;
  }

  return {
    async put(path, chunks) {
      const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const answer = await send('PUT', path, { 'content-length': String(sizeBytes) }, chunks);
      for await (const _ of answer);
      return answer.headers.etag ?? '';
    },
    async get(path, range) {
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range.start}-${range.end}` };
      const answer = await send('GET', path, headers, []);
      let sizeBytes = 0;
      answer.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
      });
      await new Promise((resolve, reject) => answer.on('end', resolve).on('error', reject));
      return sizeBytes;
    },
    async post(path, body) {
      const bytes = Buffer.from(body);
      const answer = await send('POST', path, { 'content-length': String(bytes.length) }, [bytes]);
      let text = '';
      for await (const chunk of answer) text += String(chunk);
      return text;
    },
    close: () => agent.destroy(),
  };
}

/** Signature version 4 of a request whose payload is not signed. */
function signer(host: string, region: string, { accessKeyId, secretAccessKey }: S3Address['credentials']) {
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
  const scope = `${day}/${region}/s3/aws4_request`;
  const key = [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${secretAccessKey}`, day));
  return (method: string, path: string): Record<string, string> => {
    const [pathname = '', query = ''] = path.split('?');
    const at = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const signed = 'host;x-amz-content-sha256;x-amz-date';
    const canonical = [
      method,
      pathname,
      query,
      `host:${host}`,
      'x-amz-content-sha256:UNSIGNED-PAYLOAD',
      `x-amz-date:${at}`,
      '',
      signed,
      'UNSIGNED-PAYLOAD',
    ].join('\n');
    const digest = createHash('sha256').update(canonical).digest('hex');
    const signature = hmac(key, ['AWS4-HMAC-SHA256', at, scope, digest].join('\n')).toString('hex');
    return {
      host,
      'x-amz-date': at,
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    };
  };
}
