// A last line that people and machines read alike: how many tests passed, failed and were skipped.
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export function createClosingLine(): Reporter {
  return {
    onTestRunEnd(modules: readonly TestModule[]) {
      const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
      for (const module of modules) {
        for (const test of module.children.allTests() as Iterable<TestCase>) counts[test.result().state] += 1;
        if (module.errors().length > 0) counts.failed += 1;
      }
      const skipped = counts.skipped + counts.pending;
      process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${skipped} skipped\n`);
    },
  };
}
