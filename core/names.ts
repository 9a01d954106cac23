/** Lower case, because names become folders, container names and parts of URLs. */
export const projectNamePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const stageNamePattern = /^[a-z](?:[a-z0-9_-]{0,38}[a-z0-9])?$/;

/** A project name from any text, such as a folder's name; null when no letter or digit is left. */
export function projectNameFrom(text: string): string | null {
  const name = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^[._-]+|[._-]+$/g, '');
  return name === '' ? null : name;
}

/** A stage name from any text; null when no letter starts what is left. */
export function stageNameFrom(text: string): string | null {
  const name = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40)
    .replaceAll(/[_-]+$/g, '');
  return name === '' ? null : name;
}
