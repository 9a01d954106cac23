import { z } from 'zod';

/** What every download of a stored file understands. */
export const downloadQuery = z.object({
  redirect: z
    .enum(['yes'])
    .optional()
    .describe(
      'Answer 307 with a link to the bytes where the blob store can give one. It works for anybody for ten minutes.',
    ),
});
