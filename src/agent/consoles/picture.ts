/**
 * Pictures of the screen, which QEMU itself writes, into a folder of its own. Whoever has taken it over may put anything there, at any moment: nothing
 * but a file of its own is read, and nothing but a name is removed, never what a name leads to.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { HypervisorError } from "../hypervisor.ts";

/** More than the largest screen that the adapters have. */
const MAX_BYTES = 64 * 2 ** 20;

/** @param make has QEMU, which runs as `owner`, write a file of that name into the folder @throws HypervisorError */
export async function takePicture(
  folder: string,
  owner: number,
  make: (name: string) => Promise<void>,
): Promise<Buffer> {
  const name = randomUUID();
  const file = join(folder, name);
  try {
    await make(name);
    return await readPicture(file, owner);
  } finally {
    // Not rm: Node walks into folders by path, which become links to those of others meanwhile. What is no file stays, in its own folder.
    await unlink(file).catch(() => undefined);
  }
}

async function readPicture(file: string, owner: number): Promise<Buffer> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((cause: unknown) => {
    throw new HypervisorError("its QEMU made no picture", { cause });
  });
  try {
    const found = await handle.stat();
    const isOwn = found.isFile() && (process.getuid?.() !== 0 || found.uid === owner);
    if (!isOwn || found.size > MAX_BYTES) throw new HypervisorError("its QEMU made no picture");
    // Not to its end, which may move.
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(found.size), 0, found.size, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
