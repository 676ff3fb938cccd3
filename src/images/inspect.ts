/** A look at an image file that somebody else made, before anything opens it: is it an image, and does it stay within the pool? No program reads it: nothing that it names is followed. */
import { lstat, open, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { sha256Of } from "../system/digest.ts";
import { ContentError, contentOf, MAX_VIRTUAL_BYTES } from "./import/content.ts";

export interface InspectedImage {
  format: "qcow2" | "raw";
  virtualBytes: number;
  allocatedBytes: number;
  sha256: string;
}

/**
 * `file` is a name in `folder`, the pool's images/.
 * @throws Error naming the file and what would fix it
 */
export async function inspectImage(
  folder: string,
  file: string,
  signal?: AbortSignal,
): Promise<InspectedImage> {
  const path = join(folder, file);
  const wrong = (what: string) => new Error(`${file}: ${what}`);
  const entry = await lstat(path).catch(() => undefined);
  if (!entry) throw wrong(`there is no such file in ${folder}; copy it there first`);
  if (entry.isSymbolicLink() && !(await realpath(path)).startsWith(`${await realpath(folder)}${sep}`))
    throw wrong("is a link to a file outside the storage pool; copy the file itself into the pool");
  const found = await stat(path);
  if (!found.isFile()) throw wrong("is not a regular file");
  try {
    const content = await contentOf(path);
    if ("packed" in content)
      throw wrong(`is packed (${content.packed}); vireo image import takes the disk out of it`);
    const { disk } = content;
    if (disk !== "qcow2" && disk !== "raw")
      throw wrong(`has the format ${disk}; convert it with qemu-img convert -O qcow2`);
    const virtualBytes = disk === "raw" ? found.size : await qcow2Bytes(path, found.size);
    if (!(virtualBytes > 0) || virtualBytes > MAX_VIRTUAL_BYTES)
      throw wrong(`claims a size of ${virtualBytes} bytes`);
    return {
      format: disk,
      virtualBytes,
      allocatedBytes: found.blocks * 512,
      sha256: await sha256Of(path, signal),
    };
  } catch (error) {
    throw error instanceof ContentError ? wrong(error.message) : error;
  }
}

/** Where a qcow2's header says what (docs/interop/qcow2.txt in QEMU's source). */
const QCOW2 = { clusterBits: 20, size: 24, l1Entries: 36, l1At: 40, length: 72 };
const CLUSTER_BITS = { least: 9, most: 21 };

/** @returns its size as the guest sees it. @throws ContentError when what the header names is not in the file */
async function qcow2Bytes(path: string, fileBytes: number): Promise<number> {
  const file = await open(path);
  try {
    const head = Buffer.alloc(QCOW2.length);
    await file.read(head, 0, head.length, 0);
    const bits = head.readUInt32BE(QCOW2.clusterBits);
    const l1End = head.readBigUInt64BE(QCOW2.l1At) + 8n * BigInt(head.readUInt32BE(QCOW2.l1Entries));
    if (bits < CLUSTER_BITS.least || bits > CLUSTER_BITS.most || l1End > BigInt(fileBytes))
      throw new ContentError("is a damaged qcow2, or not all of it is there; copy it again");
    return Number(head.readBigUInt64BE(QCOW2.size));
  } finally {
    await file.close();
  }
}
