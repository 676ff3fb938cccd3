/** From the file that was brought to the one disk in it: archives in archives, each bounded in depth and bytes. */
import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Readable } from "node:stream";
import { confined } from "../confine.ts";
import { type Content, ContentError, contentOf, type Packing } from "./content.ts";
import { writeAll } from "./received.ts";
import { tooLarge } from "./room.ts";
import { type Member, tarMembers } from "./tar.ts";

const DEPTH = 4;
const DISKS = /\.(vmdk|vhd|vhdx|vdi|hds|hdd|qcow2|qcow|raw|img|iso)$/i;
/** What holds the parts of an OCI image. */
const BLOB = /(^|\/)blobs\/sha256\/[0-9a-f]{64}$/;
const ZERO_BYTES = 65_536;
/** Of what is unpacked, holes counted. */
const MAX_APPARENT = 64 * 2 ** 40;

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
      const [start, end] = [member.at, member.at + member.bytes - 1];
      await writeSparse(() => createReadStream(at, { start, end }), to, maxBytes, signal);
    } else await expand(at, content.packed, to, folder, maxBytes, signal);
    if (at !== path) await rm(at);
    at = to;
  }
  throw new ContentError(`is an archive in an archive, more than ${DEPTH} deep`);
}

async function members(path: string): Promise<Member[]> {
  const members = await tarMembers(path).catch((error: unknown) => {
    throw new ContentError(error instanceof Error ? error.message : String(error), { cause: error });
  });
  return members.filter(({ type }) => type === "0");
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
  folder: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  // It is handed over by its descriptor, and what it makes comes through a pipe: it needs no file.
  const [first = "", ...rest] = [
    ...(await confined(folder, {})),
    ...["prlimit", "--as=1073741824", PROGRAMS[packing], "-dc"],
  ];
  const input = await open(path, "r");
  let child: ReturnType<typeof spawn> | undefined;
  let said = "";
  let over: Promise<number | null> | undefined;
  const begin = (): Readable => {
    child = spawn(first, rest, {
      stdio: [input.fd, "pipe", "pipe"],
      signal,
    });
    child.stderr?.on("data", (bytes: Buffer) => {
      if (said.length < 1000) said += bytes.toString();
    });
    over = new Promise((resolve, reject) => {
      child?.once("error", reject);
      child?.once("close", resolve);
    });
    over.catch(() => {});
    if (!child.stdout) throw new Error(`${packing} cannot be started`);
    return child.stdout;
  };
  try {
    await writeSparse(begin, to, maxBytes, signal);
    const code = await over;
    if (code !== 0)
      throw new ContentError(`is a damaged ${packing} archive: ${said.trim().split("\n").at(-1)}`);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    child?.kill("SIGKILL");
    await input.close();
  }
}

/**
 * Zeros become holes.
 * @param begin called when there is a place for it: what a program says that nobody reads yet is lost when it ends
 * @throws ContentError when more comes than there may be
 */
export async function writeSparse(
  begin: () => Readable,
  to: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(to, "w", 0o600);
  try {
    const zeros = Buffer.alloc(ZERO_BYTES);
    let [at, written] = [0, 0];
    for await (const chunk of begin()) {
      signal.throwIfAborted();
      const bytes = chunk as Buffer; // of a stream without an encoding
      for (let i = 0; i < bytes.length; i += ZERO_BYTES) {
        const part = bytes.subarray(i, i + ZERO_BYTES);
        if (!part.equals(zeros.subarray(0, part.length))) {
          written += part.length;
          if (written > maxBytes) throw tooLarge("needs more", maxBytes);
          await writeAll(file, part, at);
        }
        at += part.length;
        if (at > MAX_APPARENT) throw new ContentError("unpacks to more than 64 TiB");
      }
    }
    if ((await file.stat()).size < at) await file.truncate(at);
  } finally {
    await file.close();
  }
}
