/**
 * What a VNC server says (RFC 6143 and the community's description of the RFB protocol), so far as to know where each message ends: a session that goes on at
 * another server has to change between two of them. Pure.
 */
import { type Grammar, ProtocolError } from "./parse.ts";

export const ENCODINGS = {
  raw: 0,
  copyRect: 1,
  hextile: 5,
  tight: 7,
  desktopSize: -223,
  cursor: -239,
  pointerType: -257,
  extendedKeys: -258,
  ledState: -261,
  extendedDesktopSize: -308,
  alphaCursor: -314,
} as const;

const ALLOWED: readonly number[] = Object.values(ENCODINGS);

/**
 * Encodings that a session may use. Not those whose state cannot be begun anew in the middle (ZRLE, Zlib: one stream of zlib for the
 * whole session), nor extensions that are not read here. Levels of JPEG and compression say only how Tight is to be made.
 */
export const isAllowed = (encoding: number): boolean =>
  ALLOWED.includes(encoding) ||
  (encoding >= -32 && encoding <= -23) ||
  (encoding >= -256 && encoding <= -247);

/** 16 bytes, as in ServerInit and SetPixelFormat. */
export type PixelFormat = Buffer;
const bytesPerPixel = (format: PixelFormat): number => (format[0] ?? 32) >> 3;

/** Of Tight: three bytes where each colour has eight bits. */
function tightPixel(format: PixelFormat): number {
  const bytes = bytesPerPixel(format);
  const is888 = [4, 6, 8].every((at) => format.readUInt16BE(at) === 255);
  return bytes === 4 && is888 ? 3 : bytes;
}

/** What both sides of a session know. */
export interface Screen {
  width: number;
  height: number;
  format: PixelFormat;
  /** The next rectangle of Tight begins its streams anew: another server makes them. */
  restartTight: boolean;
}

/** One message of a server. */
export function* serverMessage(screen: Screen): Grammar {
  const [type] = yield 1;
  switch (type) {
    case 0:
      return yield* framebufferUpdate(screen);
    case 1: {
      const head = yield 5;
      yield head.readUInt16BE(3) * 6;
      return;
    }
    case 2:
      return;
    case 3: {
      const head = yield 7;
      yield head.readUInt32BE(3);
      return;
    }
    default:
      throw new ProtocolError(`the server sends messages of type ${type}, which nobody asked for`);
  }
}

function* framebufferUpdate(screen: Screen): Grammar {
  const head = yield 3;
  for (let left = head.readUInt16BE(1); left > 0; left--) {
    const rectangle = yield 12;
    const [width, height] = [rectangle.readUInt16BE(4), rectangle.readUInt16BE(6)];
    yield* content(screen, width, height, rectangle.readInt32BE(8));
  }
}

function* content(screen: Screen, width: number, height: number, encoding: number): Grammar {
  const pixel = bytesPerPixel(screen.format);
  switch (encoding) {
    case ENCODINGS.raw:
      yield width * height * pixel;
      return;
    case ENCODINGS.copyRect:
      yield 4;
      return;
    case ENCODINGS.hextile:
      return yield* hextile(width, height, pixel);
    case ENCODINGS.tight:
      return yield* tight(screen, width, height);
    case ENCODINGS.desktopSize:
      Object.assign(screen, { width, height });
      return;
    case ENCODINGS.extendedDesktopSize: {
      const [screens = 0] = yield 4;
      yield screens * 16;
      Object.assign(screen, { width, height });
      return;
    }
    case ENCODINGS.cursor:
      yield width * height * pixel + Math.floor((width + 7) / 8) * height;
      return;
    case ENCODINGS.alphaCursor:
      yield 4 + width * height * 4;
      return;
    case ENCODINGS.pointerType:
    case ENCODINGS.extendedKeys:
      return;
    case ENCODINGS.ledState:
      yield 1;
      return;
    default:
      throw new ProtocolError(`the server sends rectangles of encoding ${encoding}, which nobody asked for`);
  }
}

function* hextile(width: number, height: number, pixel: number): Grammar {
  for (let y = 0; y < height; y += 16)
    for (let x = 0; x < width; x += 16) {
      const [mask = 0] = yield 1;
      if (mask & 1) {
        yield Math.min(16, width - x) * Math.min(16, height - y) * pixel;
        continue;
      }
      yield (mask & 2 ? pixel : 0) + (mask & 4 ? pixel : 0);
      if (!(mask & 8)) continue;
      const [count = 0] = yield 1;
      yield count * (2 + (mask & 16 ? pixel : 0));
    }
}

function* tight(screen: Screen, width: number, height: number): Grammar {
  const pixel = tightPixel(screen.format);
  const control = yield 1;
  const kind = (control[0] ?? 0) >> 4;
  if (screen.restartTight) control[0] = (control[0] ?? 0) | 0x0f;
  screen.restartTight = false;
  if (kind === 8) {
    yield pixel;
    return;
  }
  if (kind === 9) {
    yield yield* compactLength();
    return;
  }
  if (kind > 9) throw new ProtocolError(`the server sends Tight of kind ${kind}, which nobody asked for`);
  let bytes = width * height * pixel;
  if (kind & 4) {
    const [filter] = yield 1;
    if (filter === 1) {
      const [last = 0] = yield 1;
      const colours = last + 1;
      yield colours * pixel;
      bytes = colours <= 2 ? Math.ceil(width / 8) * height : width * height;
    }
  }
  // Too little to be worth compressing.
  yield bytes < 12 ? bytes : yield* compactLength();
}

function* compactLength(): Grammar<number> {
  let length = 0;
  for (const shift of [0, 7, 14]) {
    const [byte = 0] = yield 1;
    length |= (shift === 14 ? byte : byte & 0x7f) << shift;
    if (shift === 14 || !(byte & 0x80)) break;
  }
  return length;
}
