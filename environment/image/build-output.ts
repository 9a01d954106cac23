// What the engine says while it builds a Dockerfile.
import type { LineListener } from '#environment/process/command.ts';
import { type EngineEvent, statusLine } from './engine-events.ts';

const tailLines = 12;

/** The output as lines, and the ids of the images that its steps made. */
export function createBuildOutput(onLine: LineListener | undefined) {
  const lines: string[] = [];
  const made: string[] = [];
  let isCached = false;
  const line = (text: string): void => {
    onLine?.(text);
    lines.push(text);
    if (lines.length > tailLines) lines.shift();
  };
  const take = (event: EngineEvent): void => {
    const status = statusLine(event);
    if (status !== null) line(status);
    for (const text of (event.stream ?? '').split(/\r?\n/).filter((one) => one.trim() !== '')) {
      line(text);
      const image = /^ ---> ([0-9a-f]{12})$/.exec(text)?.[1];
      if (text.startsWith('Step ')) isCached = /^Step \d+\/\d+ : FROM /i.test(text);
      if (text === ' ---> Using cache') isCached = true;
      if (image !== undefined && !isCached) made.push(image);
    }
  };
  return { lines, made, take };
}
