/** Whether there is a file, or a folder, without holding up the whole process: a file server may not answer, and existsSync() waits for it. */
import { access } from "node:fs/promises";

/** Links are followed, as by existsSync(). What cannot be seen is not there. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
