/** The disk in the file that was brought, as a disk of ours: qcow2 that depends on no other file, or a CD as it is. */
import { createReadStream } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isFields } from "../../resource/fields.ts";
import { sha256Of } from "../../system/digest.ts";
import { run } from "../../system/run.ts";
import { confined, type Files } from "../confine.ts";
import { ContentError, MAX_VIRTUAL_BYTES } from "./content.ts";
import { tooLarge } from "./room.ts";
import { type Unpacked, writeSparse } from "./unpack.ts";

export interface Converted {
  path: string;
  format: "qcow2" | "raw";
  virtualBytes: number;
  allocatedBytes: number;
  sha256: string;
}

const INFO_MS = 20_000;
const CONVERT_MS = 6 * 3600_000;

/** qemu-img on a stranger's file: with bounded memory, time, and bytes that it may write. Its format is told, never guessed. */
async function qemuImg(
  args: readonly string[],
  { folder, files, timeoutMs, maxBytes, signal }: Bounds,
): Promise<string> {
  const limits = ["--as=2147483648", `--cpu=${timeoutMs / 1000}`, `--fsize=${Math.floor(maxBytes)}`];
  const [first = "", ...rest] = [
    ...(await confined(folder, files)),
    ...["prlimit", ...limits, "qemu-img", ...args],
  ];
  return run(first, rest, { timeoutMs, signal });
}

interface Bounds {
  folder: string;
  files: Files;
  timeoutMs: number;
  maxBytes: number;
  signal: AbortSignal;
}

/** What it is made of stays: whoever is killed begins anew with that. @throws ContentError for what is wrong with it */
export async function convert(
  { path, content }: Unpacked,
  folder: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Converted> {
  if ("cd" in content) {
    const made = join(folder, "made.iso");
    await writeSparse(() => createReadStream(path), made, maxBytes, signal);
    const { size, blocks } = await stat(made);
    return {
      path: made,
      format: "raw",
      virtualBytes: size,
      allocatedBytes: blocks * 512,
      sha256: await sha256Of(made, signal),
    };
  }
  const format = content.disk;
  const virtualBytes = await lookAt(path, format, folder, signal);
  const made = join(folder, "made.qcow2");
  // It may write this one file, and make none.
  await writeFile(made, "");
  const files = { reads: [path], writes: [made] };
  const args = ["convert", "-f", format, "-O", "qcow2", path, made];
  await qemuImg(args, { folder, files, timeoutMs: CONVERT_MS, maxBytes, signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    const said = error instanceof Error ? (error.message.split(": ").at(-1) ?? "") : String(error);
    throw /File too large|ended by SIGXFSZ|No space/.test(error instanceof Error ? error.message : "")
      ? tooLarge("needs more", maxBytes)
      : new ContentError(`cannot be read as ${format}: ${said}`, { cause: error });
  });
  const { blocks } = await stat(made);
  return {
    path: made,
    format: "qcow2",
    virtualBytes,
    allocatedBytes: blocks * 512,
    sha256: await sha256Of(made, signal),
  };
}

/** @returns its size as the guest sees it */
async function lookAt(path: string, format: string, folder: string, signal: AbortSignal): Promise<number> {
  const args = ["info", "--output=json", "-f", format, path];
  const bounds = { folder, files: { reads: [path] }, timeoutMs: INFO_MS, maxBytes: 2 ** 20, signal };
  const text = await qemuImg(args, bounds).catch((error: unknown) => {
    signal.throwIfAborted();
    const said = error instanceof Error ? error.message.split(": ").at(-1) : String(error);
    throw new ContentError(`cannot be read as ${format}: ${said}`, { cause: error });
  });
  const info: unknown = JSON.parse(text);
  if (!isFields(info)) throw new ContentError(`cannot be read as ${format}`);
  const specific = isFields(info["format-specific"]) ? info["format-specific"].data : undefined;
  const data = isFields(specific) ? specific : {};
  const extents: unknown[] = Array.isArray(data.extents) ? data.extents : [];
  const elsewhere = extents.some((extent) => isFields(extent) && extent.filename !== path);
  // Looked for before (content.ts); here by the word of the program that will read it.
  if (info["backing-filename"] !== undefined || data["data-file"] !== undefined || elsewhere)
    throw new ContentError("needs other files; flatten it with qemu-img convert -O qcow2");
  if (info.encrypted === true)
    throw new ContentError("is encrypted; convert it with its secret, qemu-img convert -O qcow2");
  const size = Number(info["virtual-size"]);
  if (!(size > 0) || size > MAX_VIRTUAL_BYTES) throw new ContentError(`claims a size of ${size} bytes`);
  return size;
}
