/**
 * A mistake in what the user gave: a file, a setting, a flag. Its message says which file, line or tensor is
 * wrong, what was expected and what to do. The command line prints it without a stack trace.
 */
export class UserError extends Error {
  override name = 'UserError';

  constructor(message: string) {
    // A name in a file may hold control characters, which a terminal would obey.
    super(message.replace(/[^\P{Cc}\n\t]/gu, '\ufffd'));
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
