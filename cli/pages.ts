import { everyPage } from '#sdk/client.ts';

/** All items of a list, page by page. For lists that are short by nature. */
export async function collectPages<T>(
  fetchPage: (query: { cursor?: string }) => Promise<{ items: T[]; nextCursor: string | null }>,
): Promise<T[]> {
  const items: T[] = [];
  for await (const item of everyPage((cursor) => fetchPage(cursor === undefined ? {} : { cursor }))) items.push(item);
  return items;
}
