// What this folder reads of a run's manifest, which the step persist writes.
import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const manifestSchema = z.object({
  manifest: z.literal(1),
  run: z.object({ project: z.string(), number: z.number().int() }),
  code: z.object({ commit: z.string(), sourceSha256: sha256, patchSha256: sha256.nullish() }),
  params: z.json(),
  seed: z.number().nullable(),
  asOf: z.string(),
  environment: z.object({ lockSha256: sha256 }).nullish(),
  data: z.array(z.object({ name: z.string(), digest: sha256, dataset: z.string().nullable() })),
  artifacts: z.array(
    z.object({ step: z.string(), path: z.string(), sha256, sizeBytes: z.number().int().min(0), mediaType: z.string() }),
  ),
  metrics: z.json(),
});

export type Manifest = z.output<typeof manifestSchema>;

/** Null for what is not a manifest. */
export function readManifest(bytes: Buffer): Manifest | null {
  return parseJson(manifestSchema, bytes);
}

/** What the text says, when it is JSON of that shape. */
export function parseJson<T>(schema: z.ZodType<T>, bytes: Buffer): T | null {
  try {
    return schema.safeParse(JSON.parse(bytes.toString('utf8'))).data ?? null;
  } catch {
    return null; // Not JSON.
  }
}
