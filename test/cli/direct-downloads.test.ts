import { expect, test } from 'vitest';
import { createDirectDownloads } from '#cli/files/direct-downloads.ts';

test('links are asked for until one can not be followed', async () => {
  const asked: Array<string | undefined> = [];
  let reachable = true;
  const open = ({ redirect }: { redirect?: 'yes' }) => {
    asked.push(redirect);
    return redirect === 'yes' && !reachable
      ? Promise.reject(new Error('unreachable'))
      : Promise.resolve(new Response());
  };
  const direct = createDirectDownloads();
  await direct(open);
  reachable = false;
  await direct(open);
  await direct(open);
  expect(asked).toEqual(['yes', 'yes', undefined, undefined]);
});

test('what is wrong with the file itself is said, and later files are still asked for by link', async () => {
  const asked: Array<string | undefined> = [];
  const direct = createDirectDownloads();
  const missing = ({ redirect }: { redirect?: 'yes' }) => {
    asked.push(redirect);
    return Promise.reject(new Error('not found'));
  };
  await expect(direct(missing)).rejects.toThrow('not found');
  await expect(direct(missing)).rejects.toThrow('not found');
  expect(asked).toEqual(['yes', undefined, 'yes', undefined]);
});
