// What the worker registers. A name here is persisted in every history.
export { run } from './run.ts';
export { trigger } from './trigger.ts';
