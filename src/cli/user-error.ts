/** An error that is the user's to mend: main prints its message without a stack and exits with 1. */
export class UserError extends Error {}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EISDIR: "is a folder; a file is needed",
  EACCES: "may not be read by this user",
};

/** Of a file that was named by the user. @param cause what its reading threw */
export function unreadable(file: string, cause: unknown): UserError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return new UserError(`${file}: ${WHY[code] ?? (cause instanceof Error ? cause.message : cause)}`, {
    cause,
  });
}
