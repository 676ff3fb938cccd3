/** PNGs of 8 bits a colour, not interlaced: as QEMU writes pictures of a screen. */
import { crc32, deflateSync, inflateSync } from "node:zlib";
import { isPng, PNG_SIGNATURE } from "../../system/png.ts";

/** Red, green, blue: 0 to 255. */
export type Colour = readonly [number, number, number];

export interface Picture {
  width: number;
  height: number;
  /** How many of its pixels are not black. */
  lit: number;
  /** The share of it, from 0 to 1, that is about of that colour. */
  shareOf: (colour: Colour) => number;
}

/** Whether nothing of it is still being written. */
export const isWholePng = (bytes: Buffer) => bytes.subarray(-8, -4).toString("latin1") === "IEND";

/** One of a single colour. */
export function plainPng(width: number, height: number, colour: Colour): Buffer {
  const part = (type: string, data: Buffer) => {
    const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(named));
    return Buffer.concat([length, named, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const row = Buffer.concat([Buffer.alloc(1), Buffer.alloc(3 * width, Uint8Array.from(colour))]);
  const rows = deflateSync(Buffer.concat(Array.from({ length: height }, () => row)));
  return Buffer.concat([
    PNG_SIGNATURE,
    part("IHDR", header),
    part("IDAT", rows),
    part("IEND", Buffer.alloc(0)),
  ]);
}

/** @throws Error when it is no such PNG, or damaged */
export function readPng(png: Buffer): Picture {
  if (!isPng(png)) throw new Error("is no PNG");
  const parts: Buffer[] = [];
  let [width, height, channels, isEnded] = [0, 0, 0, false];
  for (let at = PNG_SIGNATURE.length; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const data = png.subarray(at + 8, at + 8 + length);
    const type = png.subarray(at + 4, at + 8).toString("latin1");
    if (type === "IHDR") {
      [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)];
      channels = { 0: 1, 2: 3, 6: 4 }[data[9] ?? -1] ?? 0;
      if (data[8] !== 8 || data[12] !== 0 || channels === 0) throw new Error("is another PNG than QEMU's");
    }
    if (type === "IDAT") parts.push(data);
    isEnded = type === "IEND";
    at += length + 12;
  }
  if (!isEnded) throw new Error("is cut off");
  const bytes = inflateSync(Buffer.concat(parts));
  const row = width * channels;
  const pixels = Buffer.alloc(row * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < row; x++) {
      const left = x < channels ? 0 : (pixels[y * row + x - channels] ?? 0);
      const above = y === 0 ? 0 : (pixels[(y - 1) * row + x] ?? 0);
      const corner = y === 0 || x < channels ? 0 : (pixels[(y - 1) * row + x - channels] ?? 0);
      const filter = bytes[y * (row + 1)] ?? 0;
      const guess = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter] ?? 0;
      pixels[y * row + x] = ((bytes[y * (row + 1) + 1 + x] ?? 0) + guess) & 255;
    }
  let lit = 0;
  for (let i = 0; i < pixels.length; i += channels)
    if (pixels.subarray(i, i + Math.min(3, channels)).some((colour) => colour > 0)) lit++;
  const isAbout = (at: number, colour: Colour) =>
    colour.every((one, i) => Math.abs((pixels[at + i] ?? 0) - one) < 8);
  const shareOf = (colour: Colour) => {
    let count = 0;
    for (let i = 0; i < pixels.length; i += channels) if (isAbout(i, colour)) count++;
    return count / (width * height);
  };
  return { width, height, lit, shareOf };
}

function paeth(left: number, above: number, corner: number): number {
  const [a, b, c] = [left, above, corner].map((one) => Math.abs(left + above - corner - one)) as [
    number,
    number,
    number,
  ];
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}
