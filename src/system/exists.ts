/** Whether there is a file, or a folder, without holding up the whole process: a file server may not answer, and existsSync() waits for it. */
import { stat } from "node:fs/promises";

const NOT_THERE: readonly unknown[] = ["ENOENT", "ENOTDIR"];

const codeOf = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

/** Whether this is what the file system says of what is not there. */
export const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT";

/** Links are followed. @throws when that cannot be known: what is not seen for a moment, on a file server say, is not what is not there */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (NOT_THERE.includes(codeOf(error))) return false;
    throw error;
  }
}
