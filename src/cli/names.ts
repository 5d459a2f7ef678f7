import { UserError } from '../errors.js';

/** The names of a list with commas between, each once. @throws UserError where there is none */
export function namesOf(list: string, flag: string): string[] {
  const names = [...new Set(list.split(',').map((name) => name.trim()))].filter((name) => name !== '');
  if (names.length === 0) throw new UserError(`${flag} names none`);
  return names;
}
