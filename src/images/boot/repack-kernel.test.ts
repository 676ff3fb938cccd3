/** Kernels' files that are made up: what matters of them is in their header, and around the packed kernel. */
import { expect, it } from "vitest";
import { lz4Kernel, repacked } from "./repack-kernel.ts";

const SECTORS = 39;
const BEGIN = (SECTORS + 1) * 512;
const LZ4 = [0x02, 0x21, 0x4c, 0x18];
const XZ = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];

function file(
  magic: number[],
  { length, unpacked, init }: { length: number; unpacked: number; init: number },
  times = 1,
): Buffer {
  const bytes = Buffer.alloc(BEGIN + 716 + length + 4096, 0xee);
  bytes[0x1f1] = SECTORS;
  bytes.write("HdrS", 0x202, "latin1");
  bytes.writeUInt32LE(716, 0x248);
  bytes.writeUInt32LE(length, 0x24c);
  bytes.writeUInt32LE(init, 0x260);
  Buffer.from(magic).copy(bytes, BEGIN + 716);
  bytes.writeUInt32LE(unpacked, BEGIN + 716 + length - 4);
  for (let i = 0; i < times; i++) {
    bytes.writeUInt32LE(length, BEGIN + 716 + length + 100 + 8 * i);
    bytes.writeUInt32LE(unpacked, BEGIN + 716 + length + 104 + 8 * i);
  }
  return bytes;
}
const SMALL = file(LZ4, { length: 9000, unpacked: 30_000, init: 31_000 });
const OTHER = { length: 5000, unpacked: 40_000, init: 43_000 };
const packed = Buffer.concat([Buffer.from(XZ), Buffer.alloc(4000, 0x11)]);

it("finds the kernel in its file", () => {
  expect(lz4Kernel(SMALL)).toHaveLength(8996);
  expect(lz4Kernel(file(XZ, OTHER))).toBeUndefined();
  expect(lz4Kernel(Buffer.alloc(10_000))).toBeUndefined();
});

it("puts it where the other one was, with its lengths, and memory for both of it", () => {
  const made = repacked(SMALL, packed, file(XZ, OTHER)) ?? Buffer.alloc(0);
  const at = BEGIN + 716;
  expect(made.subarray(at, at + packed.length)).toEqual(packed);
  expect(made.readUInt32LE(at + packed.length)).toBe(30_000);
  expect(made.readUInt32LE(0x24c)).toBe(packed.length + 4);
  const lengths = at + OTHER.length + 100;
  expect([made.readUInt32LE(lengths), made.readUInt32LE(lengths + 4)]).toEqual([packed.length + 4, 30_000]);
  expect(made.readUInt32LE(0x260)).toBe(Math.ceil((3000 + 30_000 + 5000 - packed.length - 4) / 4096) * 4096);
});

it("leaves alone what it does not know", () => {
  expect(repacked(SMALL, packed, file(LZ4, OTHER))).toBeUndefined();
  expect(repacked(SMALL, packed, file(XZ, OTHER, 2))).toBeUndefined();
  expect(repacked(SMALL, packed, file(XZ, OTHER, 0))).toBeUndefined();
  expect(repacked(SMALL, packed, file(XZ, { ...OTHER, length: 3000 }))).toBeUndefined();
  expect(repacked(SMALL, packed, file(XZ, { ...OTHER, unpacked: 20_000 }))).toBeUndefined();
});
