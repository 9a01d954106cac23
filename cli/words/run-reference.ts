// Runs are named `digits/42`, by id, or inside a checkout just `42`.
import { CliError } from '#cli/errors.ts';

const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const numbered = /^[a-z0-9][a-z0-9._-]*\/\d+$/;
const bareNumber = /^#?(\d+)$/;

/** Whether the text is spelled like a run; no stage is. */
export function isRunReference(text: string): boolean {
  return uuid.test(text) || numbered.test(text) || bareNumber.test(text);
}

/** `projectHere` names the checkout's project; it is asked only for a bare number. */
export async function parseRunReference(text: string, projectHere: () => Promise<string>): Promise<string> {
  if (uuid.test(text) || numbered.test(text)) return text;
  const [, number] = bareNumber.exec(text) ?? [];
  if (number !== undefined) return `${await projectHere()}/${number}`;
  throw new CliError(`Found "${text}" instead of a run; expected PROJECT/NUMBER such as digits/42, or the run's id.`);
}
