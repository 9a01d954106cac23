// Keeps secrets out of logs, also when a secret is cut by a chunk's edge or printed in a common encoding.

const replacement = '***';
/** Shorter values would mask ordinary words. */
const maskedLengthMin = 4;

export interface Mask {
  /** Returns what may be shown; an end that may be the beginning of a secret is held back until more input decides about it. */
  push(chunk: Buffer): Buffer;
  /** Returns what was held back. */
  end(): Buffer;
}

function encodings(value: string): string[] {
  const bytes = Buffer.from(value);
  const forms = [
    value,
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
    asciiJson(value),
  ];
  // A base64 text that holds the value at another offset shares all but its first and last characters with these.
  for (const shift of [1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    forms.push(shifted.slice(shift + 1, -4));
  }
  forms.push(...value.split('\n'));
  return forms;
}

/** As Python's json writes a text: every character beyond ASCII escaped. */
function asciiJson(value: string): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value)
    .slice(1, -1)
    .replaceAll(/[\u0080-\uffff]/g, escape);
}

function literally(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

/** Bytes are handled as latin1, so that binary output passes unchanged. */
export function createMask(secrets: readonly string[]): Mask {
  const needles = [...new Set(secrets.flatMap(encodings))]
    .filter((needle) => needle.length >= maskedLengthMin)
    .map((needle) => Buffer.from(needle).toString('latin1'))
    .toSorted((a, b) => b.length - a.length);
  if (needles.length === 0) return { push: (chunk) => chunk, end: () => Buffer.alloc(0) };
  const lengthMax = needles[0]?.length ?? 0;
  // Alternatives are tried in their order: the longest first.
  const pattern = new RegExp(needles.map(literally).join('|'), 'g');
  let held = '';

  /** Where the text, from here on, may be the beginning of a secret; its end when nowhere. */
  const undecided = (text: string, from: number) => {
    for (let at = Math.max(from, text.length - lengthMax + 1); at < text.length; at += 1) {
      const end = text.slice(at);
      if (needles.some((needle) => needle.length > end.length && needle.startsWith(end))) return at;
    }
    return text.length;
  };

  /** A secret that another one begins with is decided together with it: masking it at once would show the rest. */
  const decide = (text: string): string => {
    let shown = '';
    let from = 0;
    let until = undecided(text, from);
    for (const { index, 0: found } of text.matchAll(pattern)) {
      if (index >= until) break;
      shown += text.slice(from, index) + replacement;
      from = index + found.length;
      if (from > until) until = undecided(text, from);
    }
    held = text.slice(until);
    return shown + text.slice(from, until);
  };

  return {
    push: (chunk) => Buffer.from(decide(held + chunk.toString('latin1')), 'latin1'),
    end() {
      const rest = Buffer.from(held.replaceAll(pattern, replacement), 'latin1');
      held = '';
      return rest;
    },
  };
}
