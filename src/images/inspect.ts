/** A look at an image file that somebody else made, before anything opens it: is it an image, and does it stay within the pool? */
import { createReadStream } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { sha256Of } from "../system/digest.ts";
import { run } from "../system/run.ts";

export interface InspectedImage {
  format: "qcow2" | "raw";
  virtualBytes: number;
  allocatedBytes: number;
  sha256: string;
}

/** 64 TiB: more is a trick, not a disk. */
const MAX_VIRTUAL_BYTES = 64 * 2 ** 40;

export class ImageError extends Error {}

/**
 * `file` is a name in `folder`, the pool's images/. The probe runs with limited memory and time: image headers are hostile input.
 * @throws ImageError naming the file and what would fix it
 */
export async function inspectImage(folder: string, file: string): Promise<InspectedImage> {
  const path = join(folder, file);
  const wrong = (what: string) => new ImageError(`${file}: ${what}`);
  const found = await lstat(path).catch(() => undefined);
  if (!found) throw wrong(`there is no such file in ${folder}; copy it there first`);
  if (found.isSymbolicLink() && !(await realpath(path)).startsWith(`${await realpath(folder)}${sep}`))
    throw wrong("is a link to a file outside the storage pool; copy the file itself into the pool");
  if (!found.isFile() && !found.isSymbolicLink()) throw wrong("is not a regular file");
  // The first bytes decide: a raw disk must not be able to pass itself off as something with a backing file later on.
  const info = await imageInfo(path).catch((error: unknown) => {
    throw new ImageError(
      `${file}: qemu-img cannot read it: ${error instanceof Error ? error.message.split(": ").at(-1) : error}`,
      { cause: error },
    );
  });
  const { format } = info;
  if (format !== "qcow2" && format !== "raw")
    throw wrong(`has the format ${String(format)}; convert it with qemu-img convert -O qcow2`);
  if (info["backing-filename"] !== undefined)
    throw wrong(
      `has the backing file ${JSON.stringify(info["backing-filename"])}; flatten it with qemu-img convert -O qcow2, so that it depends on no other file`,
    );
  const specific: unknown = info["format-specific"];
  const data: unknown =
    typeof specific === "object" && specific !== null ? Reflect.get(specific, "data") : undefined;
  if (typeof data === "object" && data !== null && Reflect.get(data, "data-file") !== undefined)
    throw wrong("keeps its data in another file (data-file); flatten it with qemu-img convert -O qcow2");
  const virtualBytes = Number(info["virtual-size"]);
  if (!(virtualBytes > 0) || virtualBytes > MAX_VIRTUAL_BYTES)
    throw wrong(`claims a size of ${virtualBytes} bytes`);
  // qemu-img calls anything it does not know "raw": a disk has a boot sector's signature at least.
  if (format === "raw" && !(await hasBootSignature(path)) && !(await isCd(path)))
    throw wrong(
      "is not a disk image: neither qcow2, nor a raw disk with a boot sector, nor a CD (ISO 9660, UDF)",
    );
  return { format, virtualBytes, allocatedBytes: found.blocks * 512, sha256: await sha256Of(path) };
}

async function imageInfo(path: string): Promise<Record<string, unknown>> {
  const limits = ["--as=1073741824", "--cpu=10"];
  const text = await run("prlimit", [...limits, "qemu-img", "info", "--output=json", path], {
    timeoutMs: 20_000,
  });
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null)
    throw new ImageError(`${path}: qemu-img said nothing about it`);
  return { ...value };
}

const hasBootSignature = async (path: string) =>
  (await bytesAt(path, 510, 2)).equals(Buffer.from([0x55, 0xaa]));

/** What the first of a CD's volume descriptors is known by, in its 17th sector. */
const isCd = async (path: string) =>
  ["CD001", "BEA01"].includes((await bytesAt(path, 16 * 2048 + 1, 5)).toString("latin1"));

async function bytesAt(path: string, start: number, count: number): Promise<Buffer> {
  const bytes: Buffer[] = [];
  for await (const chunk of createReadStream(path, { start, end: start + count - 1 }))
    bytes.push(Buffer.from(chunk));
  return Buffer.concat(bytes);
}
