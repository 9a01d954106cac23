import type { Problem, ProblemCode } from '#contract/problems.ts';

/** The server refused, or could not answer. `problem` is its own account of why. */
export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.name = 'ApiError';
    this.problem = problem;
  }

  get status(): number {
    return this.problem.status;
  }

  get code(): ProblemCode {
    return this.problem.code;
  }
}

/** No answer at all: the server is not there, or the connection broke. */
export class UnreachableError extends Error {
  readonly url: string;

  constructor(url: string, cause: unknown) {
    super(`Assay does not answer at ${url}.`, { cause });
    this.name = 'UnreachableError';
    this.url = url;
  }
}
