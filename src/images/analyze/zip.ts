/** Reads ZIP files (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT): jars, wheels, archives of applications. */
import { inflateRawSync } from "node:zlib";

const [END_OF_DIRECTORY, DIRECTORY_ENTRY] = [0x06054b50, 0x02014b50];
const END_BYTES = 22;
const MAX_ENTRIES = 200_000;
const ENCRYPTED = 1;

export interface ZipEntry {
  name: string;
  flags: number;
  method: number;
  packedBytes: number;
  bytes: number;
  at: number;
}

/** The directory (4.3.12) of a ZIP file; of what is none, nothing. */
export function zipEntries(zip: Buffer): ZipEntry[] {
  const mark = Buffer.alloc(4);
  mark.writeUInt32LE(END_OF_DIRECTORY);
  const end = zip.lastIndexOf(mark);
  if (end < 0 || end + END_BYTES > zip.length) return [];
  const entries: ZipEntry[] = [];
  let at = zip.readUInt32LE(end + 16);
  while (at + 46 <= zip.length && zip.readUInt32LE(at) === DIRECTORY_ENTRY && entries.length < MAX_ENTRIES) {
    const nameBytes = zip.readUInt16LE(at + 28);
    entries.push({
      name: zip.toString("utf8", at + 46, at + 46 + nameBytes),
      flags: zip.readUInt16LE(at + 8),
      method: zip.readUInt16LE(at + 10),
      packedBytes: zip.readUInt32LE(at + 20),
      bytes: zip.readUInt32LE(at + 24),
      at: zip.readUInt32LE(at + 42),
    });
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return entries;
}

/** @returns undefined for one that is damaged, larger than `maxBytes`, encrypted, of ZIP64, or packed in a way that jars are not */
export function zipContent(
  zip: Buffer,
  { at, flags, method, packedBytes, bytes }: ZipEntry,
  maxBytes: number,
): Buffer | undefined {
  if (bytes > maxBytes || at + 30 > zip.length || flags & ENCRYPTED) return undefined;
  const begin = at + 30 + zip.readUInt16LE(at + 26) + zip.readUInt16LE(at + 28);
  const packed = zip.subarray(begin, begin + packedBytes);
  try {
    // What says that it is small and is not is not unpacked.
    const content = method === 8 ? inflateRawSync(packed, { maxOutputLength: Math.max(1, bytes) }) : packed;
    return (method === 0 || method === 8) && content.length === bytes ? content : undefined;
  } catch {
    return undefined;
  }
}
