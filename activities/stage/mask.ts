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
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
  ];
  // A base64 text that holds the value at another offset shares all but its first and last characters with these.
  for (const shift of [1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    forms.push(shifted.slice(shift + 1, -4));
  }
  forms.push(...value.split('\n'));
  return forms;
}

/** Bytes are handled as latin1, so that binary output passes unchanged. */
export function createMask(secrets: readonly string[]): Mask {
  const needles = [...new Set(secrets.flatMap(encodings))]
    .filter((needle) => needle.length >= maskedLengthMin)
    .map((needle) => Buffer.from(needle).toString('latin1'))
    .toSorted((a, b) => b.length - a.length);
  if (needles.length === 0) return { push: (chunk) => chunk, end: () => Buffer.alloc(0) };
  let held = '';

  /** The longest end of the text that may be the beginning of a secret. */
  const undecided = (text: string) => {
    for (let length = Math.min(text.length, (needles[0]?.length ?? 0) - 1); length > 0; length -= 1) {
      const end = text.slice(text.length - length);
      if (needles.some((needle) => needle.startsWith(end))) return length;
    }
    return 0;
  };

  const mask = (text: string) => needles.reduce((masked, needle) => masked.replaceAll(needle, replacement), text);
  return {
    push(chunk) {
      const text = mask(held + chunk.toString('latin1'));
      const keep = undecided(text);
      held = text.slice(text.length - keep);
      return Buffer.from(text.slice(0, text.length - keep), 'latin1');
    },
    end() {
      const rest = Buffer.from(mask(held), 'latin1');
      held = '';
      return rest;
    },
  };
}
