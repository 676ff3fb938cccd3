/**
 * What an ELF program or library needs to be started: the ELF header, its segments and its dynamic section
 * (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html). Little-endian, 64 bit: x86-64 is all that images are built for. Pure.
 */

export interface Elf {
  /** Names of libraries, as the dynamic linker looks for them. */
  needed: string[];
  /** Where it looks first; $ORIGIN is the file's own folder. */
  runPath: string[];
  /** The dynamic linker, of a program. */
  interpreter?: string;
  soname?: string;
  /** Not a library. */
  isProgram: boolean;
}

const [PT_LOAD, PT_DYNAMIC, PT_INTERP] = [1, 2, 3];
const [DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH] = [1, 5, 14, 15, 29];
const PROGRAM_HEADER = 56;
/** More is a trick. */
const MAX_ENTRIES = 10_000;

/** @returns undefined for what is no such file, or a damaged one */
export function readElf(bytes: Buffer): Elf | undefined {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    return undefined;
  try {
    return parse(bytes);
  } catch {
    return undefined; // offsets beyond its end
  }
}

function parse(bytes: Buffer): Elf {
  const start = Number(bytes.readBigUInt64LE(32));
  const count = bytes.readUInt16LE(56);
  const segments = Array.from({ length: count }, (_, i) => {
    const at = start + i * PROGRAM_HEADER;
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      address: Number(bytes.readBigUInt64LE(at + 16)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
    };
  });
  const textAt = (at: number) => {
    const end = bytes.indexOf(0, at);
    if (at >= bytes.length || end < 0) throw new RangeError("no text there");
    return bytes.toString("latin1", at, end);
  };
  const interp = segments.find(({ type }) => type === PT_INTERP);
  const elf: Elf = {
    needed: [],
    runPath: [],
    isProgram: interp !== undefined,
    ...(interp ? { interpreter: textAt(interp.offset) } : {}),
  };
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) return elf;
  const entries: { tag: number; value: number }[] = [];
  for (
    let at = dynamic.offset;
    at < dynamic.offset + dynamic.size && entries.length < MAX_ENTRIES;
    at += 16
  ) {
    const tag = Number(bytes.readBigInt64LE(at));
    if (tag === 0) break;
    entries.push({ tag, value: Number(bytes.readBigUInt64LE(at + 8)) });
  }
  const strings = entries.find(({ tag }) => tag === DT_STRTAB)?.value;
  const holder = segments.find(
    ({ type, address, size }) =>
      type === PT_LOAD && strings !== undefined && strings >= address && strings < address + size,
  );
  if (strings === undefined || !holder) return elf;
  const table = strings - holder.address + holder.offset;
  for (const { tag, value } of entries) {
    if (tag === DT_NEEDED) elf.needed.push(textAt(table + value));
    else if (tag === DT_SONAME) elf.soname = textAt(table + value);
    else if (tag === DT_RPATH || tag === DT_RUNPATH)
      elf.runPath.push(
        ...textAt(table + value)
          .split(":")
          .filter(Boolean),
      );
  }
  return elf;
}
