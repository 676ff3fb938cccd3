/** What a tar archive has, by its headers alone (POSIX ustar and pax, GNU's long names), wherever its bytes are: on this machine's disk, or in a browser. */

export interface Member {
  name: string;
  /** Where its bytes begin in the archive. */
  at: number;
  bytes: number;
  /** As in its header: "0" a regular file, "1" a hard link, "2" a symbolic link, "5" a folder. */
  type: string;
  mode: number;
  /** Of a link. */
  target: string;
}

const BLOCK = 512;
const MAX_NAMES = 65_536;
/** What archives are compressed with, by the first bytes. */
const PACKERS = [
  { program: "gzip", magic: [0x1f, 0x8b] },
  { program: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { program: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { program: "bzip2", magic: [0x42, 0x5a, 0x68] },
];

/**
 * @param read the bytes there; fewer at the archive's end
 * @param size of the archive
 * @param most how many headers it may have
 * @throws Error for what is damaged, or has too many members
 */
export async function membersIn(
  read: (at: number, length: number) => Promise<Uint8Array>,
  size: number,
  most: number,
): Promise<Member[]> {
  const members: Member[] = [];
  let next: Next = {};
  // What is shorter than a header is told of, too.
  for (let at = 0, headers = 0; at === 0 || at + BLOCK <= size; headers++) {
    const head = await read(at, BLOCK);
    if (head.every((byte) => byte === 0)) break;
    if (headers >= most) throw new Error(`has more than ${most} members`);
    if (!isWhole(head)) {
      const packer =
        at === 0 ? PACKERS.find(({ magic }) => magic.every((byte, i) => head[i] === byte)) : undefined;
      throw new Error(
        packer
          ? `is compressed: unpack it with ${packer.program} -d`
          : "is a damaged tar archive: a header's checksum is wrong",
      );
    }
    const type = String.fromCharCode(head[156] ?? 0);
    // Of links and folders a size says nothing.
    const bytes = /[1-6]/.test(type) ? 0 : (next.bytes ?? numberIn(head.subarray(124, 136)));
    const data = at + BLOCK;
    if (!Number.isSafeInteger(bytes) || bytes < 0 || data + bytes > size)
      throw new Error("is a damaged tar archive: a member ends after the archive");
    at = data + Math.ceil(bytes / BLOCK) * BLOCK;
    if (type === "x" || type === "L" || type === "K") {
      if (bytes > MAX_NAMES) throw new Error("is a damaged tar archive: a name is too long");
      const text = UTF8.decode(await read(data, bytes));
      const whole = text.replace(/\0.*$/s, "");
      next = {
        ...next,
        ...(type === "L" ? { name: whole } : type === "K" ? { target: whole } : pax(text)),
      };
      continue;
    }
    if (type === "g") continue;
    const prefix = textIn(head.subarray(345, 500));
    const short = textIn(head.subarray(0, 100));
    const name = next.name ?? (prefix === "" ? short : `${prefix}/${short}`);
    const target = next.target ?? textIn(head.subarray(157, 257));
    next = {};
    const mode = numberIn(head.subarray(100, 108)) & 0o7777;
    members.push({ name, at: data, bytes, type: /[\x007]/.test(type) ? "0" : type, mode, target });
  }
  return members;
}

interface Next {
  name?: string;
  bytes?: number;
  target?: string;
}

/** As it is written, also what looks like a byte order mark. */
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

function isWhole(head: Uint8Array): boolean {
  const told = numberIn(head.subarray(148, 156));
  let sum = 0;
  for (const [i, byte] of head.entries()) sum += i >= 148 && i < 156 ? 32 : byte;
  return sum === told;
}

const textIn = (field: Uint8Array) => UTF8.decode(field).replace(/\0.*$/s, "");

/** Octal, or of large files binary (GNU). */
function numberIn(field: Uint8Array): number {
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(textIn(field).trim() || "0", 8);
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}

/** "19 path=a/b/c.vmdk\n". @throws Error for files with holes: their data begins with a map of them, and their names are others */
function pax(text: string): Next {
  if (/^\d+ GNU\.sparse\./m.test(text))
    throw new Error("has a file with holes; make the archive without --sparse");
  const value = (key: string) => new RegExp(`^\\d+ ${key}=(.*)$`, "m").exec(text)?.[1];
  const [path, size, target] = [value("path"), value("size"), value("linkpath")];
  return {
    ...(path === undefined ? {} : { name: path }),
    ...(size === undefined ? {} : { bytes: Number(size) }),
    ...(target === undefined ? {} : { target }),
  };
}
