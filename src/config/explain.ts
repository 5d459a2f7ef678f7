import type { z } from 'zod';

/** Says in one line what is wrong with a configuration: every field with what was expected of it. */
export function explainIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const path = pathOf(issue).join('.').slice(0, 200);
      return path === '' ? complaint(issue) : `${path}: ${complaint(issue)}`;
    })
    .join('; ');
}

/** Where an issue is; a name that has no place is its own. */
export function pathOf(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String);
  return issue.code === 'unrecognized_keys' ? [...path, issue.keys[0]] : path;
}

/** What is wrong, in the words of someone who wrote a configuration file. */
export function complaint(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return 'there is no such setting';
  return issue.message
    .replace(/^Invalid input: expected (.*), received undefined$/, 'is missing, expected $1')
    .replace(/^(Invalid input|Invalid option|Invalid string): /, '');
}
