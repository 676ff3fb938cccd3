/** The making of a disk's first layer. */
import { stat } from "node:fs/promises";
import { linkDurably } from "../../system/durable.ts";
import { run } from "../../system/run.ts";
import { type Base, writeBase } from "./bases.ts";
import { readHeader } from "./qcow2-head.ts";
import { own } from "./volume-files.ts";

const SECTOR = 512;

/** As the guest sees it. */
async function sizeOf({ path, format }: Base): Promise<number> {
  if (format === "qcow2") return (await readHeader(path)).sizeBytes;
  return Math.ceil((await stat(path)).size / SECTOR) * SECTOR;
}

/**
 * The first layer of a disk, made whole or not at all; one that is there is left as it is. `below`: the file that it is a linked overlay of, which is not
 * opened: it may be a layer of another machine. `sizeBytes`: that of `below` when absent.
 */
export async function makeDisk(
  path: string,
  below: Base | undefined,
  sizeBytes: number | undefined,
  { uid, gid }: { uid: number; gid: number },
): Promise<void> {
  const made = `${path}.new`;
  const bytes = sizeBytes ?? (below && (await sizeOf(below)));
  const backing = below ? ["-u", "-b", below.path, "-F", below.format] : [];
  const size = bytes === undefined ? [] : [String(bytes)];
  await run("qemu-img", ["create", "-q", "-f", "qcow2", ...backing, made, ...size]);
  await own(made, uid, gid, 0o600);
  await writeBase(path, below);
  // Unlike a rename, a link never takes the place of what is there after all.
  await linkDurably(made, path);
}
