/**
 * What a tar archive has, by its headers alone (POSIX ustar and pax, GNU's long names). Nothing is unpacked by name: the importer copies the bytes of the one member
 * that it wants to a place of its own, so no name, link or device in an archive leads anywhere.
 */
import { open } from "node:fs/promises";

export interface Member {
  name: string;
  /** Where its bytes begin in the archive. */
  at: number;
  bytes: number;
}

const BLOCK = 512;
const MAX_MEMBERS = 10_000;
const MAX_NAMES = 65_536;

/** Regular files alone. @throws Error for what is damaged */
export async function tarMembers(path: string): Promise<Member[]> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const read = async (at: number, length: number) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, at);
      return bytes.subarray(0, bytesRead);
    };
    const members: Member[] = [];
    let next: { name?: string; bytes?: number } = {};
    for (let at = 0, headers = 0; at + BLOCK <= size; headers++) {
      const head = await read(at, BLOCK);
      if (head.every((byte) => byte === 0)) break;
      if (headers >= MAX_MEMBERS) throw new Error(`has more than ${MAX_MEMBERS} members`);
      if (!isWhole(head)) throw new Error("is a damaged tar archive: a header's checksum is wrong");
      const bytes = next.bytes ?? numberIn(head.subarray(124, 136));
      const data = at + BLOCK;
      if (!Number.isSafeInteger(bytes) || bytes < 0 || data + bytes > size)
        throw new Error("is a damaged tar archive: a member ends after the archive");
      const type = String.fromCharCode(head[156] ?? 0);
      at = data + Math.ceil(bytes / BLOCK) * BLOCK;
      if (type === "x" || type === "L") {
        if (bytes > MAX_NAMES) throw new Error("is a damaged tar archive: a name is too long");
        const text = (await read(data, bytes)).toString("utf8");
        next = type === "L" ? { ...next, name: text.replace(/\0.*$/s, "") } : { ...next, ...pax(text) };
        continue;
      }
      if (type === "g") continue;
      const prefix = textIn(head.subarray(345, 500));
      const short = textIn(head.subarray(0, 100));
      const name = next.name ?? (prefix === "" ? short : `${prefix}/${short}`);
      next = {};
      if (type === "0" || type === "\0" || type === "7") members.push({ name, at: data, bytes });
    }
    return members;
  } finally {
    await file.close();
  }
}

function isWhole(head: Buffer): boolean {
  const told = numberIn(head.subarray(148, 156));
  let sum = 0;
  for (const [i, byte] of head.entries()) sum += i >= 148 && i < 156 ? 32 : byte;
  return sum === told;
}

const textIn = (field: Buffer) => field.toString("utf8").replace(/\0.*$/s, "");

/** Octal, or of large files binary (GNU). */
function numberIn(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(textIn(field).trim() || "0", 8);
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}

/** "19 path=a/b/c.vmdk\n". */
function pax(text: string): { name?: string; bytes?: number } {
  const value = (key: string) => new RegExp(`^\\d+ ${key}=(.*)$`, "m").exec(text)?.[1];
  const [path, size] = [value("path"), value("size")];
  return {
    ...(path === undefined ? {} : { name: path }),
    ...(size === undefined ? {} : { bytes: Number(size) }),
  };
}
