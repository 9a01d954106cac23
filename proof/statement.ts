// What a signature is about: an in-toto Statement v1 (https://in-toto.io/Statement/v1) with a SLSA provenance predicate
// (https://slsa.dev/provenance/v1). Names are those of the files in an exported bundle, so that one can be held against
// the other.
import { z } from 'zod';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { parseJson } from './manifest.ts';

export const statementMediaType = 'application/vnd.in-toto+json';
const statementType = 'https://in-toto.io/Statement/v1';
const predicateType = 'https://slsa.dev/provenance/v1';
/** Parameters: the project, the commit and what it was run with; the steps are those of the project at that commit. */
const buildType = 'urn:assay:build:run:v1';

export interface Descriptor {
  name?: string;
  uri?: string;
  /** By algorithm. */
  digest?: Record<string, string>;
  mediaType?: string;
  annotations?: Record<string, Json>;
}

export interface Provenance {
  subject: Array<Descriptor & { name: string; digest: { sha256: string } }>;
  externalParameters: Record<string, Json>;
  internalParameters: Record<string, Json>;
  resolvedDependencies: Descriptor[];
  builderId: string;
  invocationId: string;
  startedOn: string | null;
  byproducts: Descriptor[];
}

/** Equal facts give equal bytes: nothing in it comes from a clock. */
export function encodeStatement(facts: Provenance): Buffer {
  const { subject, externalParameters, internalParameters, resolvedDependencies, byproducts } = facts;
  const metadata = {
    invocationId: facts.invocationId,
    ...(facts.startedOn === null ? {} : { startedOn: facts.startedOn }),
  };
  const statement = {
    _type: statementType,
    subject,
    predicateType,
    predicate: {
      buildDefinition: { buildType, externalParameters, internalParameters, resolvedDependencies },
      runDetails: { builder: { id: facts.builderId }, metadata, byproducts },
    },
  };
  return Buffer.from(canonicalJson(statement as unknown as Json));
}

const descriptor = z.object({ name: z.string().optional(), digest: z.record(z.string(), z.string()).optional() });

const statementSchema = z.object({
  _type: z.literal(statementType),
  subject: z.array(descriptor).min(1),
  predicateType: z.literal(predicateType),
  predicate: z.object({
    buildDefinition: z.object({ buildType: z.literal(buildType), resolvedDependencies: z.array(descriptor) }),
    runDetails: z.object({ byproducts: z.array(descriptor) }),
  }),
});

export type Statement = z.output<typeof statementSchema>;

/** Null for what is not a statement of this kind. */
export function readStatement(bytes: Buffer): Statement | null {
  return parseJson(statementSchema, bytes);
}

const logSchema = z.object({
  name: z.string().startsWith('logs/'),
  digest: z.object({ sha256: z.string() }),
  annotations: z.object({ run: z.string(), step: z.string(), attempt: z.number(), sizeBytes: z.number() }),
});

export interface SignedLog {
  path: string;
  sha256: string;
  sizeBytes: number;
  /** Where it lies: with another run where the step took that one's result. */
  runId: string;
  step: string;
  attempt: number;
}

/** The logs that the statement vouches for. */
export function readLogs(bytes: Buffer): SignedLog[] {
  const statement = parseJson(
    z.object({ predicate: z.object({ runDetails: z.object({ byproducts: z.array(z.unknown()) }) }) }),
    bytes,
  );
  return (statement?.predicate.runDetails.byproducts ?? []).flatMap((byproduct) => {
    const log = logSchema.safeParse(byproduct).data;
    if (log === undefined) return [];
    const { run, ...annotations } = log.annotations;
    return [{ ...annotations, path: log.name, sha256: log.digest.sha256, runId: run }];
  });
}

/** Every file that the statement vouches for by its sha256, under its name in a bundle. */
export function filesOfStatement({ subject, predicate }: Statement): Map<string, string> {
  const named = [
    ...predicate.buildDefinition.resolvedDependencies,
    ...predicate.runDetails.byproducts,
    ...subject,
  ].flatMap(({ name, digest }) => (name === undefined || digest?.sha256 === undefined ? [] : [{ name, digest }]));
  return new Map(named.map(({ name, digest }) => [name, digest.sha256 ?? '']));
}
