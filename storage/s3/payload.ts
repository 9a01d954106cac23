// The SDK hashes every body once more to sign it. A body that brings its own checksum, which the server verifies, is
// signed without being read again.
import type { S3Client } from '@aws-sdk/client-s3';

interface Checksums {
  /** Base64. */
  ChecksumSHA256?: string;
  ChecksumCRC32?: string;
}

export function signByChecksum(client: S3Client): S3Client {
  client.middlewareStack.add(
    (next) => (args) => {
      const { ChecksumSHA256: sha256, ChecksumCRC32: crc32 } = args.input as Checksums;
      const signed = sha256 === undefined ? 'UNSIGNED-PAYLOAD' : Buffer.from(sha256, 'base64').toString('hex');
      const { request } = args as { request?: { body?: unknown; headers: Record<string, string> } };
      const isBody = request !== undefined && Buffer.isBuffer(request.body);
      if (isBody && (sha256 ?? crc32) !== undefined) request.headers['x-amz-content-sha256'] = signed;
      return next(args);
    },
    { step: 'build', name: 'signByChecksum' },
  );
  return client;
}
