// Which image lies below a project that names none.
import { DomainError } from '#core/errors.ts';
import type { PythonRequest } from '#environment/python/python-request.ts';
import { matchesRequest, parseVersionRequest } from '#environment/python/version-specifier.ts';

/** The minors that official images have, the one for a project that asks for none first. */
const minors = ['3.12', '3.14', '3.13', '3.11', '3.10', '3.9'];

/** @throws DomainError environment-unsupported when no minor version satisfies the request. */
export function defaultReference(template: string, { request, from }: PythonRequest): string {
  if (!template.includes('{python}')) return template;
  const clauses = request === null ? [] : parseVersionRequest(request);
  const plain = /^(?:==)?\s*(\d+\.\d+)(?:\.\d+)*$/.exec(request?.trim() ?? '')?.[1];
  // A range such as >=3.10.4 is met by some patch release of a minor, so each minor stands for its newest one.
  const newestPatch = 99;
  const minor =
    plain ?? minors.find((one) => clauses !== undefined && matchesRequest(`${one}.${newestPatch}`, clauses));
  if (minor !== undefined) return template.replaceAll('{python}', minor);
  throw new DomainError(
    'environment-unsupported',
    `${from} asks for Python ${request}, for which there is no default base image: known are ${[...minors].sort().join(', ')}. Ask for one of these, or name an image that has it with \`image:\`.`,
  );
}
