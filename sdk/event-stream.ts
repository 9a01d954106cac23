// Reading text/event-stream (WHATWG server-sent events) from a fetch body.

export interface ServerEvent {
  event: string;
  id: string | null;
  data: string;
}

/** Yields complete events; a heartbeat comment yields nothing. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  let block: string[] = [];
  for await (const line of readLines(body)) {
    if (line !== '') block.push(line);
    else {
      const event = parseBlock(block);
      block = [];
      if (event !== null) yield event;
    }
  }
}

async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split(/\r?\n/);
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

function parseBlock(lines: readonly string[]): ServerEvent | null {
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    fields.set(name, [...(fields.get(name) ?? []), value]);
  }
  const data = fields.get('data');
  if (data === undefined) return null;
  return {
    event: fields.get('event')?.at(-1) ?? 'message',
    id: fields.get('id')?.at(-1) ?? null,
    data: data.join('\n'),
  };
}
