import { StringDecoder } from 'node:string_decoder';

/** One line of what the engine says while it pulls or builds. */
export interface EngineEvent {
  stream?: string;
  status?: string;
  id?: string;
  progressDetail?: { current?: number };
  error?: string;
}

const lineCharsMax = 1024 * 1024;

/** Hands over each event as it comes. @throws Error with the engine's words when one of them says that it failed. */
export async function followEvents(stream: NodeJS.ReadableStream, take: (event: EngineEvent) => void): Promise<void> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
    rest = (lines.pop() ?? '').slice(0, lineCharsMax);
    for (const line of lines) takeLine(line, take);
  }
  takeLine(rest, take);
}

function takeLine(line: string, take: (event: EngineEvent) => void): void {
  if (line.trim() === '') return;
  const event = JSON.parse(line) as EngineEvent;
  take(event);
  if (event.error !== undefined) throw new Error(event.error);
}

/** Progress bars are left out: a log has no use for them. */
export function statusLine({ status, id, progressDetail }: EngineEvent): string | null {
  if (status === undefined || progressDetail?.current !== undefined) return null;
  return id === undefined ? status : `${id}: ${status}`;
}
