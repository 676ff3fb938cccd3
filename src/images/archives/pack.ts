/** Makes a tar archive of files of this machine (POSIX ustar, GNU's long names): the same bits of the same files, whoever's they are and however old. */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { writeAll } from "../import/received.ts";

export type Packed = {
  /** In the archive. */
  name: string;
} & (
  | {
      /** On this machine. */
      path: string;
      bytes: number;
      mode: number;
    }
  | {
      /** Of a symbolic link. */
      target: string;
    }
);

const BLOCK = 512;
const MAX_NAME = 100;

/** @throws Error of the file system, or when a file changes meanwhile */
export async function packTar(to: string, entries: readonly Packed[]): Promise<void> {
  const file = await open(to, "w", 0o600);
  try {
    let at = 0;
    const write = async (bytes: Buffer) => {
      await writeAll(file, bytes, at);
      at += bytes.length;
    };
    const sorted = [...entries].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (const entry of sorted) {
      const target = "target" in entry ? entry.target : "";
      if (Buffer.byteLength(entry.name) > MAX_NAME) await write(long("L", entry.name));
      if (Buffer.byteLength(target) > MAX_NAME) await write(long("K", target));
      if ("target" in entry) {
        await write(header(entry.name, { type: "2", bytes: 0, mode: 0o777, target }));
        continue;
      }
      const { name, path, bytes, mode } = entry;
      await write(header(name, { type: "0", bytes, mode: mode & 0o777, target }));
      at += await copy(path, file, at, bytes);
      await write(Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK));
    }
    await write(Buffer.alloc(2 * BLOCK));
  } finally {
    await file.close();
  }
}

async function copy(from: string, to: FileHandle, at: number, bytes: number): Promise<number> {
  let done = 0;
  for await (const chunk of createReadStream(from)) {
    const part: Buffer = chunk;
    await writeAll(to, part, at + done);
    done += part.length;
  }
  if (done !== bytes) throw new Error(`${from} changed while it was read`);
  return done;
}

function header(
  name: string,
  { type, bytes, mode, target }: { type: string; bytes: number; mode: number; target: string },
): Buffer {
  const head = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    head.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  Buffer.from(name).copy(head, 0, 0, MAX_NAME);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(bytes, 124, 12);
  octal(0, 136, 12);
  head.write(type, 156, "latin1");
  Buffer.from(target).copy(head, 157, 0, MAX_NAME);
  head.write("ustar\x0000", 257, "latin1");
  head.fill(" ", 148, 156);
  const sum = head.reduce((all, byte) => all + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return head;
}

/** GNU's: the next member's name, or target, is the content of this one. */
function long(type: "L" | "K", text: string): Buffer {
  const content = Buffer.from(`${text}\0`);
  return Buffer.concat([
    header("././@LongLink", { type, bytes: content.length, mode: 0o644, target: "" }),
    content,
    Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK),
  ]);
}
