// A process of its own: the bundler takes some 150 MB that the stack would keep.
import { writeFile } from 'node:fs/promises';
import { bundleWorkflows } from './runtime.ts';

const path = process.argv[2];
if (path === undefined) throw new Error('Say where the bundle goes.');
const bundle = await bundleWorkflows();
if (!('code' in bundle)) throw new Error('The bundler gave no code.');
await writeFile(path, bundle.code);
