import { join } from 'node:path';
import { readText } from '#environment/sources/tree.ts';

export type SetupConfig = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The sections of setup.cfg; none when there is no such file. */
export async function readSetupConfig(directory: string): Promise<SetupConfig> {
  return parse((await readText(join(directory, 'setup.cfg'))) ?? '');
}

/** Sections of keys whose values may go on over indented lines. */
function parse(text: string): SetupConfig {
  const sections: Record<string, Record<string, string>> = {};
  let section: Record<string, string> = {};
  let key = '';
  for (const line of text.split(/\r?\n/).filter((one) => !/^\s*[#;]/.test(one))) {
    const header = /^\[(.+)\]\s*$/.exec(line)?.[1];
    const pair = /^([^\s=:][^=:]*?)\s*[=:]\s*(.*)$/.exec(line);
    if (header !== undefined) {
      section = {};
      sections[header] = section;
    } else if (/^\s+\S/.test(line) && key !== '') {
      section[key] = `${section[key] ?? ''}\n${line.trim()}`;
    } else if (pair !== null) {
      key = pair[1] ?? '';
      section[key] = pair[2] ?? '';
    }
  }
  return sections;
}
