import { expect, it } from 'vitest';
import { refuseRemoteSources } from '#environment/image/context-files.ts';

it.each([
  'ADD http://169.254.169.254/latest /x',
  'add --chown=1:1 https://example.org/a.tgz /x',
  'ADD git@github.com:a/b.git /x',
  'ADD ["http://127.0.0.1:8080/", "/x"]',
  'ADD \\\n  http://127.0.0.1/ /x',
  'ARG from=http://127.0.0.1/\nADD $from /x',
  'ONBUILD ADD local /x',
])('the engine itself fetches nothing: %s', (line) => {
  expect(() => refuseRemoteSources('Dockerfile', `FROM base\n${line}\n`)).toThrow(/the engine would fetch that itself/);
});

it('files of the repository may be added and copied', () => {
  const text = 'FROM base\nADD data.tgz /data\nCOPY . /app\n# ADD http://x /y\nRUN curl http://example.org/\n';
  expect(() => refuseRemoteSources('Dockerfile', text)).not.toThrow();
});
