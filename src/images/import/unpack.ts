/** From the file that was brought to the one disk in it: archives in archives, each bounded in depth and bytes. */
import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Readable } from "node:stream";
import { type Content, ContentError, contentOf, type Packing } from "./content.ts";
import { type Member, tarMembers } from "./tar.ts";

const DEPTH = 4;
const DISKS = /\.(vmdk|vhd|vhdx|vdi|hds|hdd|qcow2|qcow|raw|img|iso)$/i;
/** What holds the parts of an OCI image. */
const BLOB = /(^|\/)blobs\/sha256\/[0-9a-f]{64}$/;
const ZERO_BYTES = 65_536;

export interface Unpacked {
  path: string;
  content: Exclude<Content, { packed: Packing }>;
}

/**
 * @param folder where what is unpacked goes, under names of our own
 * @param maxBytes more is not written: an archive may hold any number of zeros
 * @throws ContentError
 */
export async function unpack(
  path: string,
  folder: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Unpacked> {
  let at = path;
  for (let depth = 0; depth <= DEPTH; depth++) {
    const content = await contentOf(at);
    if (!("packed" in content)) return { path: at, content };
    const to = join(folder, `unpacked-${depth}`);
    if (content.packed === "tar") {
      const member = theDisk(await members(at));
      await writeSparse(
        createReadStream(at, { start: member.at, end: member.at + member.bytes - 1 }),
        to,
        maxBytes,
        signal,
      );
    } else await expand(at, content.packed, to, maxBytes, signal);
    if (at !== path) await rm(at);
    at = to;
  }
  throw new ContentError(`is an archive in an archive, more than ${DEPTH} deep`);
}

async function members(path: string): Promise<Member[]> {
  return tarMembers(path).catch((error: unknown) => {
    throw new ContentError(error instanceof Error ? error.message : String(error), { cause: error });
  });
}

function theDisk(all: readonly Member[]): Member {
  const disks = all.filter(({ name, bytes }) => bytes > 0 && DISKS.test(name));
  const [first, ...more] = disks;
  if (first && more.length === 0) return first;
  if (first)
    throw new ContentError(
      `has ${disks.length} disks (${disks
        .slice(0, 5)
        .map(({ name }) => basename(name))
        .join(", ")}); an image is one disk: unpack it, and import each`,
    );
  // The disk of a container disk is in its layer, the largest part.
  const [layer] = all.filter(({ name }) => BLOB.test(name)).sort((a, b) => b.bytes - a.bytes);
  if (layer) return layer;
  throw new ContentError("is an archive without a disk in it");
}

const PROGRAMS: Readonly<Record<Exclude<Packing, "tar">, string>> = {
  gzip: "gzip",
  xz: "xz",
  zstd: "zstd",
  bzip2: "bzip2",
};

/** By the formats' own programs, of bounded memory. */
async function expand(
  path: string,
  packing: Exclude<Packing, "tar">,
  to: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const input = await open(path, "r");
  const child = spawn("prlimit", ["--as=1073741824", PROGRAMS[packing], "-dc"], {
    stdio: [input.fd, "pipe", "pipe"],
    signal,
  });
  // The program has its own by now.
  await input.close();
  let said = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    if (said.length < 1000) said += bytes.toString();
  });
  const over = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  over.catch(() => {});
  try {
    if (!child.stdout) throw new Error(`${packing} cannot be started`);
    await writeSparse(child.stdout, to, maxBytes, signal);
    const code = await over;
    if (code !== 0)
      throw new ContentError(`is a damaged ${packing} archive: ${said.trim().split("\n").at(-1)}`);
  } finally {
    child.kill("SIGKILL");
  }
}

/** Zeros become holes. @throws ContentError when more comes than there may be */
export async function writeSparse(
  from: Readable,
  to: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(to, "w", 0o600);
  try {
    const zeros = Buffer.alloc(ZERO_BYTES);
    let [at, written] = [0, 0];
    for await (const chunk of from) {
      signal.throwIfAborted();
      const bytes = chunk as Buffer; // of a stream without an encoding
      for (let i = 0; i < bytes.length; i += ZERO_BYTES) {
        const part = bytes.subarray(i, i + ZERO_BYTES);
        if (!part.equals(zeros.subarray(0, part.length))) {
          written += part.length;
          if (written > maxBytes)
            throw new ContentError(
              `needs more than the ${Math.floor(maxBytes / 2 ** 20)} MiB that are free in the storage pool`,
            );
          await file.write(part, 0, part.length, at);
        }
        at += part.length;
        if (at > MAX_APPARENT) throw new ContentError("unpacks to more than 64 TiB");
      }
    }
    if ((await stat(to)).size < at) await file.truncate(at);
  } finally {
    from.destroy();
    await file.close();
  }
}

const MAX_APPARENT = 64 * 2 ** 40;
