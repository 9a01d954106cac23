import { defineConfig } from 'vitest/config';
import { createClosingLine } from '#test/support/closing-line.ts';

// `unit` needs no server and stays fast; `integration` starts real Postgres, Temporal and processes.
const unit = [
  'test/core/**/*.test.ts',
  'test/proof/**/*.test.ts',
  'test/contract/**/*.test.ts',
  'test/config/**/*.test.ts',
  'test/*.test.ts',
];

export default defineConfig({
  test: {
    reporters: ['default', createClosingLine()],
    projects: [
      { test: { name: 'unit', include: unit, sequence: { groupOrder: 0 } } },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: unit,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
          // Most of their time they wait for servers and processes.
          maxWorkers: 3,
          maxConcurrency: 3,
          globalSetup: ['test/support/services.ts'],
        },
      },
    ],
  },
});
