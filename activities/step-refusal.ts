import { DomainError } from '#core/errors.ts';

/** A refusal that ended a step, with what the step printed last; it is the same refusal otherwise. */
export class StepRefusal extends DomainError {
  readonly logTail: readonly string[];

  constructor({ code, message, details }: DomainError, logTail: readonly string[]) {
    super(code, message, details);
    this.logTail = logTail;
  }
}
