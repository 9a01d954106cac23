#!/usr/bin/env node
// The `assay` command of the package. An older Node has to read this file to say that it is too old, so nothing newer
// than modules and `import()` is used here.
const neededMajor = 22;
const neededMinor = 13;
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < neededMajor || (major === neededMajor && minor < neededMinor)) {
  process.stderr.write(
    `assay needs Node ${neededMajor}.${neededMinor} or newer; this is ${process.versions.node} (${process.execPath}). ` +
      'Install a newer one (https://nodejs.org) and start again.\n',
  );
  process.exitCode = 1;
} else {
  keepExperimentsQuiet();
  import(new URL('cli/main.js', import.meta.url).href).catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  });
}

/** Some releases warn of parts that later ones call stable; whoever runs a command can do nothing about it. */
function keepExperimentsQuiet() {
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    if (rest[0] !== 'ExperimentalWarning') emitWarning.call(process, warning, ...rest);
  };
}
