/** What a VNC viewer says, so far as to know where each message ends and what has to be said again to another server. Pure. */
import { type Grammar, ProtocolError } from "./parse.ts";
import { isAllowed } from "./server-messages.ts";

/** More is nobody's clipboard. */
const MAX_TEXT_BYTES = 2 ** 20;

/** Of types that have one length; the length is without the type. */
const FIXED: Readonly<Record<number, number>> = { 0: 19, 3: 9, 4: 7, 5: 5 };
export const TYPES = { setPixelFormat: 0, setEncodings: 2, updateRequest: 3 } as const;

export function* clientMessage(): Grammar {
  const [type = 0] = yield 1;
  const fixed = FIXED[type];
  if (fixed !== undefined) {
    yield fixed;
    return;
  }
  switch (type) {
    case 2: {
      const head = yield 3;
      yield head.readUInt16BE(1) * 4;
      return;
    }
    case 6: {
      const head = yield 7;
      // Negative for the extended clipboard, which is not offered.
      const length = Math.abs(head.readInt32BE(3));
      if (length > MAX_TEXT_BYTES) throw new ProtocolError("the viewer sends too long a text");
      yield length;
      return;
    }
    case 251: {
      const head = yield 7;
      yield (head[5] ?? 0) * 16;
      return;
    }
    case 255: {
      // QEMU's own: extended keys.
      const [kind] = yield 1;
      if (kind !== 0) throw new ProtocolError("the viewer asks for sound, which is not offered");
      yield 10;
      return;
    }
    default:
      throw new ProtocolError(`the viewer sends messages of type ${type}, which were not offered`);
  }
}

/** SetEncodings with those that a session may use, and what the viewer had said it can. */
export function allowedEncodings(message: Buffer): { message: Buffer; encodings: readonly number[] } {
  const asked = Array.from({ length: message.readUInt16BE(2) }, (_, i) => message.readInt32BE(4 + i * 4));
  const encodings = asked.filter(isAllowed);
  const made = Buffer.alloc(4 + encodings.length * 4);
  made[0] = TYPES.setEncodings;
  made.writeUInt16BE(encodings.length, 2);
  for (const [i, encoding] of encodings.entries()) made.writeInt32BE(encoding, 4 + i * 4);
  return { message: made, encodings };
}

export function setPixelFormat(format: Buffer): Buffer {
  return Buffer.concat([Buffer.from([TYPES.setPixelFormat, 0, 0, 0]), format], 20);
}

export function updateRequest(width: number, height: number): Buffer {
  const made = Buffer.alloc(10);
  made[0] = TYPES.updateRequest;
  made.writeUInt16BE(width, 6);
  made.writeUInt16BE(height, 8);
  return made;
}
