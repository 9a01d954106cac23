// Says what a long wait is for: a line that counts on a terminal, a line every quarter of a minute elsewhere.

const quietSeconds = 15;

/**
 * @template T
 * @param {string} what for example "Installing packages"
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withProgress(what, work) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const isTerminal = process.stderr.isTTY === true;
  console.error(`${what} …`);
  const timer = setInterval(
    () => {
      if (isTerminal) process.stderr.write(`\r  ${seconds()} s `);
      else console.error(`  still going: ${what}, ${seconds()} s`);
    },
    isTerminal ? 1000 : quietSeconds * 1000,
  );
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (isTerminal) process.stderr.write('\r\x1b[K');
  }
}

/** A problem that is told as a sentence, without a stack trace. */
export class SetupError extends Error {}
