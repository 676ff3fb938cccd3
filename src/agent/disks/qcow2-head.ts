/** The head of a qcow2 file, read by ourselves. */
import { open } from "node:fs/promises";
import { LayersError } from "./layer-records.ts";

/** What we look at: the header, its extensions and the name of the file below are in the first cluster, and what we make has them right at the start. */
const HEAD_BYTES = 65_536;
/** Lengths of headers: of version 2, and the least of version 3. */
const HEADER = { v2: 72, v3: 104, most: 512 };
const MAX_NAME = 1023;

/** Header extensions (QEMU, docs/interop/qcow2.txt). */
const EXTENSION = {
  backingFormat: 0xe2792aca,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  dataFile: 0x44415441,
};

/** Incompatible features that may be there: dirty, corrupt, compression type, extended L2 entries; not: external data file, and what is to come. */
const FEATURES = 0b11011n;

export interface Head {
  sizeBytes: number;
  /** The name of the file below, to the letter. */
  backing?: string;
  backingFormat?: string;
  /** How many dirty bitmaps it holds. */
  bitmaps: number;
  /** What is in there that Vireo never puts there, for users: "an external data file". Who opens the file may follow it. */
  odd?: string;
}

/** What the head of a qcow2 file says (QEMU, docs/interop/qcow2.txt): read by ourselves, because it may be in use. @throws LayersError when it is none */
export async function readHeader(path: string): Promise<Head> {
  const file = await open(path, "r");
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    await file.read(head, 0, HEAD_BYTES, 0);
    if (head.toString("latin1", 0, 4) !== "QFI\xfb") throw new LayersError(`${path} is no qcow2 file`);
    return parseHead(head);
  } finally {
    await file.close();
  }
}

function parseHead(head: Buffer): Head {
  const version = head.readUInt32BE(4);
  const [at, length] = [Number(head.readBigUInt64BE(8)), head.readUInt32BE(16)];
  const headerBytes = version === 2 ? HEADER.v2 : head.readUInt32BE(100);
  const found: Head = { sizeBytes: Number(head.readBigUInt64BE(24)), bitmaps: 0 };
  const isWhole =
    (version === 2 || (version === 3 && headerBytes >= HEADER.v3)) &&
    headerBytes <= HEADER.most &&
    (at === 0 || (at >= headerBytes && length <= MAX_NAME && at + length <= HEAD_BYTES));
  if (!isWhole) return { ...found, odd: "a header of another kind" };
  if (head.readUInt32BE(32) !== 0) found.odd = "encryption";
  if (version === 3 && (head.readBigUInt64BE(72) & ~FEATURES) !== 0n)
    found.odd = "an external data file, or a feature that Vireo does not know";
  if (at !== 0) found.backing = head.toString("utf8", at, at + length);
  // The extensions lie between the header and the name: type, length, data filled up to 8 bytes.
  const end = at === 0 ? HEAD_BYTES : at;
  for (let i = headerBytes; i + 8 <= end; ) {
    const [type, size] = [head.readUInt32BE(i), head.readUInt32BE(i + 4)];
    if (type === 0) break;
    const data = head.subarray(i + 8, i + 8 + size);
    // QEMU takes the last, too, when there are several.
    if (type === EXTENSION.backingFormat) found.backingFormat = data.toString("latin1");
    else if (type === EXTENSION.bitmaps && size >= 4) found.bitmaps = data.readUInt32BE(0);
    else if (type === EXTENSION.encryption) found.odd = "encryption";
    else if (type === EXTENSION.dataFile) found.odd = "an external data file";
    i += 8 + Math.ceil(size / 8) * 8;
  }
  return found;
}
