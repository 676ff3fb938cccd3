/**
 * Identifiers in disk files that qemu-img makes up anew each time, set to ones made of the disk's content instead: the same disk is the same file, bit for bit. Each is
 * at the place that its format says; nothing else is touched, and qemu-img reads the file again afterwards (formats.ts).
 */
import { type FileHandle, open } from "node:fs/promises";
import { digestOf } from "../recipe.ts";

const SECTOR = 512;

/** 16 bytes, for this disk and use. */
const id = (digest: string, use: string) => Buffer.from(digestOf([digest, use]).slice(0, 32), "hex");

async function read(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  if (bytesRead < length) throw new Error("the disk file is shorter than its format says");
  return buffer;
}

const write = (file: FileHandle, at: number, bytes: Buffer) => file.write(bytes, 0, bytes.length, at);

const PATCHES: Readonly<Record<string, (file: FileHandle, digest: string, epoch: number) => Promise<void>>> =
  {
    vmdk,
    vpc,
    vdi,
    vhdx,
  };

/**
 * @param format qemu-img's name of it; of others nothing is made up
 * @param digest of the disk's content @param epoch seconds since 1970, for formats that keep when they were made
 */
export async function settleIds(path: string, format: string, digest: string, epoch: number): Promise<void> {
  const patch = PATCHES[format];
  if (!patch) return;
  const file = await open(path, "r+");
  try {
    await patch(file, digest, epoch);
  } finally {
    await file.close();
  }
}

/** The descriptor is a text, filled up with zeros; its place and size in sectors are at 28 and 36 of the header ("Virtual Disk Format 5.0"). */
async function vmdk(file: FileHandle, digest: string): Promise<void> {
  const header = await read(file, 0, SECTOR);
  const at = Number(header.readBigUInt64LE(28)) * SECTOR;
  const size = Number(header.readBigUInt64LE(36)) * SECTOR;
  const before = await read(file, at, size);
  const text = before.toString("latin1", 0, before.indexOf(0));
  const cid = id(digest, "vmdk").toString("hex", 0, 4);
  const after = Buffer.alloc(size);
  after.write(text.replace(/^CID=[0-9a-f]+$/m, `CID=${cid}`), "latin1");
  await write(file, at, after);
}

/** The footer of 512 bytes at the end, and its copy at the beginning of a dynamic one: time at 24, checksum at 64, UUID at 68 ("Virtual Hard Disk Image Format Specification"). */
async function vpc(file: FileHandle, digest: string, epoch: number): Promise<void> {
  const { size } = await file.stat();
  for (const at of [0, size - SECTOR]) {
    const footer = await read(file, at, SECTOR);
    if (footer.toString("latin1", 0, 8) !== "conectix") continue;
    // Seconds since 2000.
    footer.writeUInt32BE(Math.max(0, epoch - 946_684_800), 24);
    id(digest, "vpc").copy(footer, 68);
    footer.writeUInt32BE(0, 64);
    footer.writeUInt32BE(~footer.reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
    await write(file, at, footer);
  }
}

/** UUIDs of the image and of its last snapshot, at 0x188 and 0x198 of the header. */
async function vdi(file: FileHandle, digest: string): Promise<void> {
  await write(file, 0x188, id(digest, "vdi"));
  await write(file, 0x198, id(digest, "vdi snapshot"));
}

const KiB = 1024;
/** As they are in the file: the first three groups are little-endian. */
const METADATA_REGION = Buffer.from("06a27c8b90479a4bb8fe575f050f886e", "hex");
const PAGE_83 = Buffer.from("ab12cabee6b2234593efc309e000c746", "hex");

/** [MS-VHDX]: two headers with a checksum, the log (empty once the file was closed: its GUID is zero), and the disk's own identifier among the metadata. */
async function vhdx(file: FileHandle, digest: string): Promise<void> {
  const headers = [64 * KiB, 128 * KiB];
  const numbers = await Promise.all(
    headers.map(async (at) => (await read(file, at + 8, 8)).readBigUInt64LE()),
  );
  for (const [i, at] of headers.entries()) {
    const header = await read(file, at, 4 * KiB);
    // They begin somewhere; the higher one is the header that holds.
    const isCurrent = numbers.every((other) => other <= (numbers[i] ?? 0n));
    header.writeBigUInt64LE(isCurrent ? 2n : 1n, 8);
    id(digest, "vhdx file").copy(header, 16);
    id(digest, "vhdx data").copy(header, 32);
    header.writeUInt32LE(0, 4);
    header.writeUInt32LE(crc32c(header), 4);
    await write(file, at, header);
    const isLogEmpty = header.subarray(48, 64).every((byte) => byte === 0);
    if (!isLogEmpty) throw new Error("the VHDX was not closed");
    const [length, log] = [header.readUInt32LE(68), Number(header.readBigUInt64LE(72))];
    await write(file, log, Buffer.alloc(length));
  }
  const regions = await read(file, 192 * KiB, 64 * KiB);
  const region = regions.indexOf(METADATA_REGION);
  if (region < 0) throw new Error("the VHDX has no metadata");
  const metadata = Number(regions.readBigUInt64LE(region + 16));
  const table = await read(file, metadata, 64 * KiB);
  const entry = table.indexOf(PAGE_83);
  if (entry < 0) throw new Error("the VHDX has no identifier of its disk");
  await write(file, metadata + table.readUInt32LE(entry + 16), id(digest, "vhdx disk"));
}

const CRC32C = Uint32Array.from({ length: 256 }, (_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** Castagnoli's. */
export const crc32c = (bytes: Buffer): number =>
  ~bytes.reduce((crc, byte) => (CRC32C[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8), 0xffffffff) >>> 0;
