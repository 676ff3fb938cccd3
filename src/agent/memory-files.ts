/** Files of guests' memory, which QEMU sends and takes through unix sockets: it may open no files of ours, and can be given none. */
import { createReadStream } from "node:fs";
import { chmod, chown, open, rename, rm, stat } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { pipeline } from "node:stream/promises";

/** Listens at `path` for one connection, and writes what comes to `file`: whole or not at all. Only `user` can connect. */
export async function receiveFile(
  path: string,
  file: string,
  user: { uid: number; gid: number },
): Promise<{ done: () => Promise<number>; isFull: () => boolean; close: () => void }> {
  const part = `${file}.part`;
  await rm(part, { force: true });
  const handle = await open(part, "wx", 0o600);
  let written: Promise<void> = Promise.reject(new Error("nothing was sent"));
  written.catch(() => undefined);
  let full = false;
  const server = createServer((socket) => {
    server.close();
    written = pipeline(socket, handle.createWriteStream({ flush: true, highWaterMark: 2 ** 20 }));
    written.catch((error: NodeJS.ErrnoException) => {
      full = error.code === "ENOSPC";
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  if (process.getuid?.() === 0) await chown(path, user.uid, user.gid);
  return {
    /** Once all has been sent. @returns bytes */
    async done() {
      await written;
      await rename(part, file);
      return (await stat(file)).size;
    },
    /** Whether it ended because there was no room. */
    isFull: () => full,
    close() {
      server.close();
      void handle.close().catch(() => undefined);
      void rm(part, { force: true });
    },
  };
}

/** Sends the file to whoever listens at `path`. */
export async function sendFile(file: string, path: string): Promise<void> {
  await pipeline(createReadStream(file, { highWaterMark: 2 ** 20 }), connect(path));
}
