// What has to be on the machine before anything of Assay can be installed. All that is missing is told at once.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { SetupError } from './progress.mjs';

const run = promisify(execFile);
const nodeMajorMin = 20;
const pythonMinorMin = 9;
const pythonCandidates = ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python3.9'];

/** Prints the minor version, or fails where environments cannot be made. */
const pythonProbe = 'import sys, venv, ensurepip; print(sys.version_info[1])';

/**
 * @returns {Promise<{ python: string }>} name or path of a Python that can make environments
 * @throws {SetupError} naming everything that is missing and how to get it
 */
export async function checkPrerequisites() {
  const problems = [];
  if (Number(process.versions.node.split('.')[0]) < nodeMajorMin) {
    problems.push(
      `Node ${process.versions.node} is too old: install Node ${nodeMajorMin} or later (https://nodejs.org).`,
    );
  }
  if (process.platform !== 'linux' && process.platform !== 'darwin') {
    problems.push(`${process.platform} is not supported: use Linux or macOS, on Windows inside WSL 2.`);
  }
  if (!(await answers('git', ['--version']))) problems.push(`git is missing: ${howToGet('git', 'git')}.`);
  const python = await findPython();
  if (python === null) problems.push(await pythonProblem());
  if (problems.length > 0 || python === null) {
    throw new SetupError(`This machine lacks something:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
  return { python };
}

/** @returns {Promise<string | null>} */
async function findPython() {
  const configured = process.env.ASSAY_PYTHON;
  for (const candidate of configured ? [configured] : pythonCandidates) {
    const minor = await answers(candidate, ['-c', pythonProbe]);
    if (minor !== null && Number(minor) >= pythonMinorMin) return candidate;
  }
  return null;
}

/** @returns {Promise<string>} */
async function pythonProblem() {
  const program = process.env.ASSAY_PYTHON ?? 'python3';
  const version = (await answers(program, ['--version']))?.trim();
  if (!version) {
    return `${program} is missing: ${howToGet('python3 python3-venv', 'python3')}, or name one in ASSAY_PYTHON.`;
  }
  if (Number(version.split('.')[1]) < pythonMinorMin) {
    return `${program} is ${version}: Python 3.${pythonMinorMin} or later is needed; name one in ASSAY_PYTHON.`;
  }
  return `${program} (${version}) cannot make environments: ${howToGet('python3-venv', 'python3')}.`;
}

/**
 * @param {string} debianPackages
 * @param {string} macPackage
 */
function howToGet(debianPackages, macPackage) {
  if (process.platform === 'darwin') return `brew install ${macPackage}`;
  return `apt-get install ${debianPackages} (Debian, Ubuntu) or the like`;
}

/**
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<string | null>} what it printed, or null when it failed
 */
async function answers(program, args) {
  return run(program, args).then(
    ({ stdout }) => stdout,
    () => null,
  );
}
