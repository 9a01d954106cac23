// The rows of a snapshot in the asked format.
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SnapshotRow } from '#db/snapshots.ts';
import { exportSnapshot } from '#lake/export.ts';
import type { Lake } from '#lake/lake.ts';
import { sendBlob } from './blob-answer.ts';
import type { ApiFacts } from './deps.ts';
import { sendExportedFile } from './exported-file.ts';

export type RowFormat = 'parquet' | 'csv' | 'jsonl';

const mediaTypes: Readonly<Record<RowFormat, string>> = {
  parquet: 'application/vnd.apache.parquet',
  csv: 'text/csv',
  jsonl: 'application/jsonl',
};

/** Parquet is what is stored, so only it understands ranges. */
export async function sendSnapshot(
  request: FastifyRequest,
  reply: FastifyReply,
  { lake, facts }: { lake: Lake; facts: ApiFacts },
  wanted: { snapshot: SnapshotRow; format: RowFormat; name: string },
): Promise<FastifyReply> {
  const { snapshot, format, name } = wanted;
  const answer = { mediaType: mediaTypes[format], filename: `${name}.${format}` };
  if (format === 'parquet') return await sendBlob(request, reply, lake.store, { ...snapshot, ...answer });
  return await sendExportedFile(reply, facts, answer, (path) =>
    exportSnapshot(lake, { sha256: snapshot.sha256, format, path }),
  );
}
