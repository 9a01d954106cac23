// Errors of the HTTP API: application/problem+json (RFC 9457) with a stable type.
import { z } from 'zod';
import { errorCodes } from '#core/errors.ts';

/** The refusals of the domain, and those that only HTTP knows. */
export const problemCodes = [
  ...errorCodes,
  'method-not-allowed',
  'unsupported-media-type',
  'range-not-satisfiable',
  'host-refused',
  'unavailable',
  'internal-error',
] as const;
export type ProblemCode = (typeof problemCodes)[number];

const prefix = 'urn:assay:problem:';

export function problemType(code: ProblemCode): string {
  return prefix + code;
}

export const problem = z
  .object({
    /** `urn:assay:problem:<code>`; never changes for one kind of problem. */
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.enum(problemCodes),
    /** What was found, what was expected and what to do. */
    detail: z.string(),
    /** Single findings, each with the path of its field. */
    errors: z.array(
      z.object({
        path: z.string(),
        message: z.string(),
        file: z.string().optional(),
        line: z.number().int().optional(),
      }),
    ),
    /** Names this request in the server's log. */
    requestId: z.string(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details.' });
export type Problem = z.output<typeof problem>;
