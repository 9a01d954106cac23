// Installs the npm packages where node_modules does not hold what package-lock.json names.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SetupError, withProgress } from './progress.mjs';

/** A download that stalls is tried again after two minutes instead of npm's five. */
const npmOptions = ['--no-audit', '--no-fund', '--loglevel=error', '--fetch-timeout=120000'];

/** @param {string} root the checkout */
export async function installPackages(root) {
  if (await isComplete(root)) return;
  const npm = spawn('npm', ['ci', ...npmOptions], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = await withProgress('Installing packages from npm', once(npm, 'exit'));
  if (code !== 0) {
    throw new SetupError(
      `npm ci failed in ${root} (exit ${code}); its message above says why. Correct that and start again.`,
    );
  }
  if (!(await nodeRuns(root))) {
    throw new SetupError(
      `npm did not run the packages' install scripts, so the pinned Node is missing. Run npm ci --ignore-scripts=false in ${root}.`,
    );
  }
}

/**
 * The Node that Assay runs on, whatever started the set-up.
 * @param {string} root
 */
export function pinnedNode(root) {
  return join(root, 'node_modules', '.bin', 'node');
}

/**
 * npm writes the second file as its last act, so an interrupted installation does not count.
 * @param {string} root
 */
async function isComplete(root) {
  const wanted = await readPackages(join(root, 'package-lock.json'));
  const installed = await readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (!wanted || !installed) return false;
  const isThere = ([path, { version, optional }]) =>
    path === '' || installed[path]?.version === version || (optional === true && !installed[path]);
  return Object.entries(wanted).every(isThere) && (await nodeRuns(root));
}

/**
 * @param {string} path
 * @returns {Promise<Record<string, { version?: string, optional?: boolean }> | null>}
 */
async function readPackages(path) {
  try {
    return JSON.parse(await readFile(path, 'utf8')).packages;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
    throw error;
  }
}

/** @param {string} root */
async function nodeRuns(root) {
  const node = spawn(pinnedNode(root), ['--version'], { stdio: 'ignore' });
  const [code] = await once(node, 'exit').catch(() => [null]);
  return code === 0;
}
