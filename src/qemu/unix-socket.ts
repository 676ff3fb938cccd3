/** Connections to sockets in folders that a QEMU has written to. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { connect, Socket } from "node:net";

/** Linux: the file itself, whatever it is; nothing is done to it. */
const O_PATH = 0o10000000;

/**
 * As connect, to a socket at `path` alone: a link, which a QEMU that was taken over may have put there, could lead to another machine's. Where there is none the
 * connection fails as any other.
 */
export function connectAt(path: string): Socket {
  let file: number | undefined;
  try {
    file = openSync(path, O_PATH | constants.O_NOFOLLOW);
    if (!fstatSync(file).isSocket()) throw new Error(`${path}: is no socket`);
    // What was looked at, whatever its name leads to by now. It is taken at once.
    return connect(`/proc/self/fd/${file}`);
  } catch (error) {
    return new Socket().destroy(error instanceof Error ? error : new Error(String(error)));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
