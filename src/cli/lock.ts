/** One process of a sort per folder: two agents on one host would work against each other. */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { createServer } from "node:net";
import { UserError } from "./user-error.ts";

/**
 * Holds the folder until the function that it returns is called, or the process ends, whatever ends it: an abstract socket is the
 * kernel's, and gone with its process. Seen within one network namespace, in which an agent and its folder belong together.
 * @throws UserError when another process holds it
 */
export function lockFolder(folder: string): Promise<() => void> {
  const name = createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new UserError(`${folder}: another agent works with this folder; stop that one first`)
          : error,
      ),
    );
    server.listen(`\0vireo-${name}`, () => resolve(() => void server.close()));
    server.unref();
  });
}
