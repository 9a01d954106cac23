import type { Terminal } from '#cli/terminal.ts';

export interface RecordingTerminal extends Terminal {
  written: string[];
  notes: string[];
}

/** A terminal without colours that keeps what it was told. */
export function createRecordingTerminal(options: { isTerminal?: boolean; columns?: number } = {}): RecordingTerminal {
  const written: string[] = [];
  const notes: string[] = [];
  return {
    written,
    notes,
    write: (text) => void written.push(text),
    note: (line) => void notes.push(line),
    isTerminal: options.isTerminal ?? true,
    columns: options.columns ?? 80,
    paint: (_style, text) => text,
    paintNote: (_style, text) => text,
    screen: null,
  };
}
