import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowedEncodings, clientMessage } from "./client-messages.ts";
import { Messages } from "./parse.ts";
import { ENCODINGS, type Screen, serverMessage } from "./server-messages.ts";

/** 32 bits, little endian, 8 bits a colour: what QEMU has. */
const RGB888 = Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
const RGB565 = Buffer.from([16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]);
const screen = (format = RGB888): Screen => ({ width: 100, height: 50, format, restartTight: false });

function rectangle(
  width: number,
  height: number,
  encoding: number,
  ...content: (Buffer | number[])[]
): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(width, 4);
  head.writeUInt16BE(height, 6);
  head.writeInt32BE(encoding, 8);
  return Buffer.concat([head, ...content.map((part) => Buffer.from(part))]);
}
const update = (...rectangles: Buffer[]) =>
  Buffer.concat([Buffer.from([0, 0, 0, rectangles.length]), ...rectangles]);
const {
  raw,
  copyRect,
  hextile,
  tight,
  desktopSize,
  cursor,
  alphaCursor,
  ledState,
  extendedKeys,
  extendedDesktopSize,
} = ENCODINGS;

/** Each is one message: of RFC 6143, written by hand. */
const SERVER: Readonly<Record<string, Buffer>> = {
  bell: Buffer.from([2]),
  colours: Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 2]), Buffer.alloc(12)]),
  text: Buffer.from([3, 0, 0, 0, 0, 0, 0, 2, 104, 105]),
  nothing: update(),
  raw: update(rectangle(3, 2, raw, Buffer.alloc(24, 7)), rectangle(1, 1, copyRect, [0, 1, 0, 2])),
  // Two tiles in a row: 16 wide, then 1 wide. Raw; background, foreground, coloured subrectangles; the same, not coloured.
  hextile: update(
    rectangle(
      17,
      1,
      hextile,
      [1],
      Buffer.alloc(16 * 4),
      [2 | 4 | 8 | 16],
      Buffer.alloc(8),
      [2],
      Buffer.alloc(12),
    ),
    rectangle(16, 16, hextile, [8, 3], Buffer.alloc(6)),
    rectangle(16, 16, hextile, [0]),
  ),
  tightFill: update(rectangle(50, 50, tight, [0x80, 1, 2, 3])),
  tightJpeg: update(rectangle(50, 50, tight, [0x90, 0x81, 0x01], Buffer.alloc(129))),
  tightCopy: update(rectangle(50, 50, tight, [0x00, 5], Buffer.alloc(5))),
  // 3 bytes a pixel, and too small to be compressed.
  tightSmall: update(rectangle(3, 1, tight, [0x10], Buffer.alloc(9))),
  // Two colours: a bit for each pixel, rows of whole bytes.
  tightMono: update(rectangle(9, 2, tight, [0x50, 1, 1], Buffer.alloc(6), Buffer.alloc(4))),
  tightPalette: update(rectangle(20, 2, tight, [0x60, 1, 2], Buffer.alloc(9), [3], Buffer.alloc(3))),
  tightGradient: update(rectangle(20, 2, tight, [0x40, 2, 0x82, 0x80, 0x01], Buffer.alloc(2 + 128 * 128))),
  size: update(rectangle(640, 480, desktopSize)),
  screens: update(rectangle(800, 600, extendedDesktopSize, [1, 0, 0, 0], Buffer.alloc(16))),
  pointer: update(
    rectangle(9, 2, cursor, Buffer.alloc(72), Buffer.alloc(4)),
    rectangle(2, 2, alphaCursor, Buffer.alloc(20)),
  ),
  keys: update(rectangle(1, 1, extendedKeys), rectangle(1, 1, ledState, [3])),
};

const CLIENT: Readonly<Record<string, Buffer>> = {
  format: Buffer.concat([Buffer.alloc(4), RGB565]),
  encodings: Buffer.from([2, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 33]),
  request: Buffer.from([3, 1, 0, 0, 0, 0, 0, 9, 0, 9]),
  key: Buffer.from([4, 1, 0, 0, 0, 0, 0, 65]),
  pointer: Buffer.from([5, 0, 0, 1, 0, 2]),
  text: Buffer.from([6, 0, 0, 0, 0, 0, 0, 2, 104, 105]),
  size: Buffer.concat([Buffer.from([251, 0, 0, 9, 0, 9, 1, 0]), Buffer.alloc(16)]),
  extendedKey: Buffer.concat([Buffer.from([255, 0]), Buffer.alloc(10)]),
};

/** The messages, whatever the pieces that they come in. */
function whole(
  grammar: ConstructorParameters<typeof Messages>[0],
  all: Buffer[],
  cuts: readonly number[],
): Buffer[] {
  const messages = new Messages(grammar);
  const bytes = Buffer.concat(all);
  const found: Buffer[] = [];
  let from = 0;
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    found.push(...messages.push(Buffer.from(bytes.subarray(from, cut))));
    from = cut;
  }
  expect(messages.isBetween).toBe(true);
  return found;
}

describe("RFB", () => {
  it.each([
    ["a server", SERVER, () => serverMessage(screen())],
    ["a viewer", CLIENT, clientMessage],
  ] as const)("of %s comes out in the messages that went in, however it is cut", (_who, known, grammar) => {
    const names = fc.array(fc.constantFrom(...Object.keys(known)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(names, fc.array(fc.nat(), { maxLength: 12 }), (chosen, cuts) => {
        const all = chosen.map((name) => known[name] ?? Buffer.alloc(0));
        expect(whole(grammar, all, cuts)).toEqual(all);
      }),
    );
  });

  it("of another pixel format has other lengths", () => {
    const all = [
      update(rectangle(3, 2, raw, Buffer.alloc(12))),
      update(rectangle(9, 2, tight, [0x50, 1, 1], Buffer.alloc(4), Buffer.alloc(4))),
    ];
    expect(whole(() => serverMessage(screen(RGB565)), all, [])).toEqual(all);
  });

  it("tells the size that the screen has now", () => {
    const now = screen();
    whole(() => serverMessage(now), [SERVER.size ?? Buffer.alloc(0)], [5]);
    expect(now).toMatchObject({ width: 640, height: 480 });
  });

  it("of another server begins Tight's streams anew, once", () => {
    const now = { ...screen(), restartTight: true };
    const before = SERVER.tightCopy ?? Buffer.alloc(0);
    const [first, second] = whole(() => serverMessage(now), [before, before], []);
    expect(first?.[16]).toBe(0x0f);
    expect(second).toEqual(before);
  });

  it("that is none is refused, not waited for", () => {
    const refuses = (grammar: ConstructorParameters<typeof Messages>[0], bytes: Buffer) =>
      expect(() => [...new Messages(grammar).push(bytes)]);
    const server = () => serverMessage(screen());
    refuses(server, Buffer.from([77])).toThrow(/type 77/);
    refuses(server, update(rectangle(1, 1, 16))).toThrow(/encoding 16/);
    refuses(server, update(rectangle(65535, 65535, raw))).toThrow(/longer than any/);
    refuses(server, update(rectangle(9, 9, tight, [0xa0]))).toThrow(/kind 10/);
    refuses(clientMessage, Buffer.from([255, 1])).toThrow(/sound/);
    refuses(clientMessage, Buffer.from([6, 0, 0, 0, 127, 0, 0, 0])).toThrow(/too long/);
    refuses(clientMessage, Buffer.from([150])).toThrow(/type 150/);
  });

  it("is offered no encoding whose state could not begin anew", () => {
    const asked = [16, 7, 6, -223, -24, -250, -259, 0];
    const message = Buffer.alloc(4 + asked.length * 4);
    message[0] = 2;
    message.writeUInt16BE(asked.length, 2);
    for (const [i, encoding] of asked.entries()) message.writeInt32BE(encoding, 4 + i * 4);
    const { encodings, message: said } = allowedEncodings(message);
    expect(encodings).toEqual([7, -223, -24, -250, 0]);
    expect(said.readUInt16BE(2)).toBe(5);
    expect(said.length).toBe(24);
  });
});
