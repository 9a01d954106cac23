// Files that record when and by which run they were written, without those facts.
import { basename, extname } from 'node:path';
import { parse } from 'yaml';
import { canonicalJson, type Json } from '#core/canonical.ts';

/** Larger files are no descriptions. */
export const normalisedBytesMax = 1024 * 1024;

export interface NormalForm {
  /** Canonical JSON, a value a line, so that what differs can be shown. */
  text: string;
  /** What was left out, for the verdict's notes. */
  leftOut: string;
}

/** MLflow's description of a model: ids and times of the run, and sizes and versions that follow from them. */
const modelIds = ['run_id', 'model_uuid', 'model_id'];
const modelFacts = [
  ...modelIds,
  'utc_time_created',
  'model_size_bytes',
  'mlflow_version',
  'artifact_path',
  'source_run_id',
];

/** Whether `normalForm` has something to say about a file of this name inside an archive of that name, or outside of any. */
export function isNormalised(path: string, archive: string | null): boolean {
  return (
    basename(path) === 'MLmodel' || (path === 'metadata.json' && archive !== null && extname(archive) === '.keras')
  );
}

/** Null for bytes that are not what the name says; they are then compared as they are. */
export function normalForm(path: string, bytes: Buffer): NormalForm | null {
  try {
    return basename(path) === 'MLmodel' ? mlmodel(bytes.toString('utf8')) : keras(bytes.toString('utf8'));
  } catch {
    return null;
  }
}

function mlmodel(text: string): NormalForm | null {
  const value: unknown = parse(text, { maxAliasCount: 20 });
  if (!isMap(value)) return null;
  const ids = modelIds.map((key) => value[key]).filter((id) => typeof id === 'string' && id.length >= 8) as string[];
  const kept = Object.fromEntries(Object.entries(value).filter(([key]) => !modelFacts.includes(key)));
  const plain = ids.reduce((found, id) => found.replaceAll(id, '(id)'), linesOf(kept));
  return { text: plain, leftOut: 'ids, times, size, path and MLflow version in `MLmodel`' };
}

function keras(text: string): NormalForm | null {
  const value: unknown = JSON.parse(text);
  if (!isMap(value)) return null;
  const kept = Object.fromEntries(Object.entries(value).filter(([key]) => key !== 'date_saved'));
  return { text: linesOf(kept), leftOut: '`date_saved` in the metadata of Keras archives' };
}

function linesOf(value: unknown): string {
  return JSON.stringify(JSON.parse(canonicalJson(value as Json)), null, 1);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
