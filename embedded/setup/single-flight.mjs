// One set-up at a time gets a program: the others wait for it instead of downloading or building the same thing.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The second waits for the first, and takes over when that one is gone.
 * @template T
 * @param {string} what for example "Temporal"
 * @param {string} lock a file that holds the process id of who works
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(what, lock, work) {
  let saidSo = false;
  while (!(await take(lock))) {
    if (!saidSo) console.error(`Another set-up is getting ${what}; waiting for it …`);
    saidSo = true;
    await sleep(500);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

/** @param {string} lock */
async function take(lock) {
  try {
    await writeFile(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    const holder = Number(await readFile(lock, 'utf8').catch(() => '0'));
    if (holder > 0 && !isAlive(holder)) await rm(lock, { force: true });
    return false;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}
