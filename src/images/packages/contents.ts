/**
 * Which package has a file: Debian's Contents lists (https://wiki.debian.org/DebianRepository/Format#A.22Contents.22_indices), 7 million lines sorted by path.
 * They are cut into compressed blocks in one file, whose end says the first path of each: a look-up reads and unpacks one block.
 *
 *   block … block │ table of blocks and of libraries, compressed │ its length (8 bytes)
 */
import { spawn } from "node:child_process";
import { type FileHandle, open, rm } from "node:fs/promises";
import { constants as zlib, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { renameDurably } from "../../system/durable.ts";

const Table = Type.Object({
  /** Of each list: its blocks in the order of their paths. */
  lists: Type.Array(
    Type.Array(Type.Object({ first: Type.String(), at: Type.Integer(), bytes: Type.Integer() })),
  ),
  /** Name of a library's file -> paths of it below usr/lib. */
  libraries: Type.Record(Type.String(), Type.Array(Type.String())),
});
type Block = Type.Static<typeof Table>["lists"][number][number];

export interface PackagedFile {
  /** As Debian writes it: without "/" at its beginning. */
  path: string;
  /** Names of the packages that have it; mostly one. */
  packages: string[];
}

const BLOCK_BYTES = 65_536;
const END_BYTES = 8;
const NEWLINE = 10;
/** Blocks that are kept unpacked. */
const KEPT_BLOCKS = 200;
/** usr/lib/x86_64-linux-gnu/libz.so.1   libs/zlib1g */
const LIBRARY = /^((?:usr\/)?lib(?:64)?\/(?:\S*\/)?([^/\s]+\.so(?:\.[^/\s]+)?))\s+\S+$/gm;

/** Makes the index of these lists, which apt keeps packed in its own ways. @throws Error; nothing is written then */
export async function indexContents(
  lists: readonly string[],
  index: string,
  signal?: AbortSignal,
): Promise<void> {
  const part = `${index}.${process.pid}`;
  const file = await open(part, "w");
  try {
    const table: Type.Static<typeof Table> = { lists: [], libraries: {} };
    // Names of files are anything: "constructor", say.
    const libraries = new Map<string, string[]>();
    let at = 0;
    for (const list of lists) {
      const blocks: Block[] = [];
      for await (const lines of blocksOf(list, signal)) {
        const packed = zstdCompressSync(lines, { params: { [zlib.ZSTD_c_compressionLevel]: 1 } });
        await file.write(packed);
        blocks.push({
          first: pathOf(lines.toString("utf8", 0, lines.indexOf(NEWLINE))),
          at,
          bytes: packed.length,
        });
        at += packed.length;
        if (lines.includes(".so"))
          for (const [, path = "", name = ""] of lines.toString("utf8").matchAll(LIBRARY))
            libraries.set(name, [...(libraries.get(name) ?? []), path]);
      }
      table.lists.push(blocks);
    }
    table.libraries = Object.fromEntries(libraries);
    const packed = zstdCompressSync(JSON.stringify(table));
    const end = Buffer.alloc(END_BYTES);
    end.writeBigUInt64LE(BigInt(packed.length));
    await file.write(Buffer.concat([packed, end]));
    await file.close();
    await renameDurably(part, index);
  } finally {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
  }
}

/** Whole lines, of about a block's length each. @throws Error */
async function* blocksOf(list: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const child = spawn("/usr/lib/apt/apt-helper", ["cat-file", list], {
    stdio: ["ignore", "pipe", "inherit"],
    ...(signal ? { signal } : {}),
  });
  const over = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  over.catch(() => {}); // told below
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of child.stdout) {
    const bytes: Buffer = chunk;
    parts.push(bytes);
    length += bytes.length;
    if (length < BLOCK_BYTES) continue;
    const all = Buffer.concat(parts);
    const end = all.lastIndexOf(NEWLINE) + 1;
    if (end > 0) yield all.subarray(0, end);
    parts = [all.subarray(end)];
    length = all.length - end;
  }
  const code = await over;
  if (code !== 0) throw new Error(`apt cannot read its list ${list}: apt-helper ended with code ${code}`);
  const rest = Buffer.concat(parts);
  if (rest.length > 0) yield rest;
}

/** "usr/bin/a b   utils/x,net/y": paths may have spaces, the packages do not. */
const pathOf = (line: string) => line.replace(/\s+\S+$/, "");

function entryOf(line: string): PackagedFile {
  const [packages = ""] = /\S+$/.exec(line) ?? [];
  const names = packages.split(",").map((name) => name.slice(name.lastIndexOf("/") + 1));
  return { path: pathOf(line), packages: names };
}

/** As the lists are sorted: by bytes. */
const before = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;

export class Contents {
  readonly #file: FileHandle;
  readonly #lists: readonly (readonly Block[])[];
  readonly #libraries: Map<string, string[]>;
  readonly #unpacked = new Map<Block, Promise<string[]>>();

  private constructor(file: FileHandle, { lists, libraries }: Type.Static<typeof Table>) {
    this.#file = file;
    this.#lists = lists;
    this.#libraries = new Map(Object.entries(libraries));
  }

  /** @throws Error for what is no index */
  static async open(index: string): Promise<Contents> {
    const file = await open(index);
    try {
      const { size } = await file.stat();
      const end = await read(file, size - END_BYTES, END_BYTES);
      const length = Number(end.readBigUInt64LE());
      const text = zstdDecompressSync(await read(file, size - END_BYTES - length, length)).toString("utf8");
      return new Contents(file, Value.Parse(Table, JSON.parse(text)));
    } catch (cause) {
      await file.close();
      throw new Error(`${index} is damaged; remove it, and it is made anew`, { cause });
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** The packages that have this file, by its path in either form: usr/lib/x or lib/x. */
  async packagesOf(path: string): Promise<PackagedFile | undefined> {
    for (const form of formsOf(path)) {
      const [found] = await this.below(form, 1, true);
      if (found) return found;
    }
    return undefined;
  }

  /** Up to `most` files whose paths begin so; `whole`: that are just so. */
  async below(beginning: string, most: number, whole = false): Promise<PackagedFile[]> {
    const found = new Map<string, PackagedFile>();
    for (const list of this.#lists) {
      // The last block that begins before it, and those after it that still may have some.
      let [low, high] = [0, list.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (before(list[middle]?.first ?? "", beginning)) low = middle + 1;
        else high = middle;
      }
      let left = most;
      for (let i = Math.max(0, low - 1); i < list.length && left > 0; i++) {
        const block = list[i];
        if (!block || (i >= low && !block.first.startsWith(beginning))) break;
        for (const line of await this.#lines(block)) {
          if (line === "" || !line.startsWith(beginning)) continue;
          const entry = entryOf(line);
          if (whole && entry.path !== beginning) continue;
          const same = found.get(entry.path);
          if (same) same.packages = [...new Set([...same.packages, ...entry.packages])];
          else found.set(entry.path, entry);
          if (--left === 0) break;
        }
      }
    }
    return [...found.values()].slice(0, most);
  }

  /** Where libraries of this file name are, below usr/lib and lib. */
  pathsOfLibrary(name: string): readonly string[] {
    return this.#libraries.get(name) ?? [];
  }

  #lines(block: Block): Promise<string[]> {
    const known = this.#unpacked.get(block);
    if (known) return known;
    const lines = read(this.#file, block.at, block.bytes).then((packed) =>
      zstdDecompressSync(packed).toString("utf8").split("\n"),
    );
    const [oldest] = this.#unpacked.keys();
    if (oldest && this.#unpacked.size >= KEPT_BLOCKS) this.#unpacked.delete(oldest);
    this.#unpacked.set(block, lines);
    return lines;
  }
}

async function read(file: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(buffer, 0, bytes, at);
  if (bytesRead < bytes) throw new Error("it ends too early");
  return buffer;
}

const MERGED = /^(?:bin|sbin|lib|lib32|lib64|libx32)\//;

/** Debian's packages have some of their files in /lib and /bin still, where on a system /usr/lib and /usr/bin are the same. Pure. */
function formsOf(path: string): string[] {
  const plain = path.replace(/^\/+/, "");
  if (MERGED.test(plain)) return [plain, `usr/${plain}`];
  const inner = plain.replace(/^usr\//, "");
  return inner !== plain && MERGED.test(inner) ? [plain, inner] : [plain];
}
