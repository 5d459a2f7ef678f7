import type { z } from 'zod';

/** Says in one line what is wrong with a configuration: every field with what was expected of it. */
export function explainIssues(error: z.ZodError): string {
  return issuesOf(error)
    .map((issue) => {
      const path = pathOf(issue).join('.').slice(0, 200);
      return path === '' ? complaint(issue) : `${path}: ${complaint(issue)}`;
    })
    .join('; ');
}

/**
 * The issues of an error. Of a setting that may have several forms, those of the form that it seems to have.
 *
 * @param isPlain whether a setting came as plain text, to which its own message speaks
 */
export function issuesOf(
  { issues }: z.ZodError,
  isPlain: (name: string) => boolean = () => false,
): z.core.$ZodIssue[] {
  return issues.flatMap((issue) => (isPlain(pathOf(issue).join('.')) ? [issue] : ofForm(issue)));
}

function ofForm(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  // What is wrong with the value as a whole, the setting's own message says.
  const isInside = ({ path, code }: z.core.$ZodIssue) => path.length > 0 || code === 'unrecognized_keys';
  const meant = issue.errors.find((form) => form.every(isInside));
  if (meant === undefined) return [issue];
  return meant.flatMap((inner) => ofForm({ ...inner, path: [...issue.path, ...inner.path] }));
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
