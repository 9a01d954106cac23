/** The seed a project gets when it asks for none: stable for a name, in 0 … 2³¹ − 1 so that every library accepts it. */
export function defaultSeed(projectName: string): number {
  // FNV-1a over UTF-16 code units; only stability matters here, not quality.
  let hash = 0x811c9dc5;
  for (let i = 0; i < projectName.length; i++) hash = Math.imul(hash ^ projectName.charCodeAt(i), 0x01000193);
  return hash & 0x7fffffff;
}
