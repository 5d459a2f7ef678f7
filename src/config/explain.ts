import type { z } from 'zod';

/** Says in one line what is wrong with a configuration: every field with what was expected of it. */
export function explainIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const path = issue.path.join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    })
    .join('; ');
}
