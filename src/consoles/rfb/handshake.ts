/**
 * The beginning of an RFB session, from both sides. Access has been decided before: there is no password here. What is not RFB is a ProtocolError; a
 * connection that ends is a plain Error.
 */
import type { Duplex } from "node:stream";
import { ProtocolError } from "./parse.ts";
import type { PixelFormat } from "./server-messages.ts";

const VERSION = "RFB 003.008\n";
const NO_PASSWORD = 1;
const MAX_NAME_BYTES = 1024;
const TIME_MS = 30_000;

export interface Server {
  width: number;
  height: number;
  format: PixelFormat;
}

/** Bytes of a stream, so many at a time; what was not asked for stays in it. */
function read(stream: Duplex, length: number, late = new Error("no answer in time")): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const bytes: Buffer | null = length === 0 ? Buffer.alloc(0) : stream.read(length);
      // At its end a stream gives what is left.
      if (bytes?.length === length) return done(() => resolve(bytes));
      if (bytes || stream.destroyed || stream.readableEnded) done(() => reject(ended()));
    };
    const over = () => done(() => reject(ended()));
    const timer = setTimeout(() => done(() => reject(late)), TIME_MS);
    const done = (end: () => void) => {
      clearTimeout(timer);
      stream.off("readable", look);
      stream.off("close", over);
      stream.off("end", over);
      end();
    };
    stream.on("readable", look);
    stream.on("close", over);
    stream.on("end", over);
    look();
  });
}

const ended = () => new Error("the connection ended");

/** As viewer of a server. @throws ProtocolError */
export async function greetServer(stream: Duplex): Promise<Server> {
  const version = (await read(stream, 12)).toString("latin1");
  if (version !== VERSION) throw new ProtocolError(`the server speaks ${JSON.stringify(version)}`);
  stream.write(VERSION);
  const [types = 0] = await read(stream, 1);
  if (!(await read(stream, types)).includes(NO_PASSWORD))
    throw new ProtocolError("the server wants a password");
  stream.write(Buffer.from([NO_PASSWORD]));
  if ((await read(stream, 4)).readUInt32BE() !== 0) throw new ProtocolError("the server refuses");
  // Shared: others may look on.
  stream.write(Buffer.from([1]));
  const init = await read(stream, 24);
  const name = init.readUInt32BE(20);
  if (name > MAX_NAME_BYTES) throw new ProtocolError("the server's name is too long");
  await read(stream, name);
  return {
    width: init.readUInt16BE(0),
    height: init.readUInt16BE(2),
    format: Buffer.from(init.subarray(4, 20)),
  };
}

/** As server of a viewer, up to its ClientInit. Versions 3.3, 3.7 and 3.8. @throws ProtocolError */
export async function greetViewer(stream: Duplex): Promise<void> {
  const said = (length: number) =>
    read(stream, length, new ProtocolError("the viewer did not answer in time"));
  stream.write(VERSION);
  const answer = /^RFB 003\.(\d{3})\n$/.exec((await said(12)).toString("latin1"));
  if (!answer) throw new ProtocolError("the viewer does not speak RFB");
  const minor = Number(answer[1]);
  if (minor < 7) stream.write(Buffer.from([0, 0, 0, NO_PASSWORD]));
  else {
    stream.write(Buffer.from([1, NO_PASSWORD]));
    const [chosen] = await said(1);
    if (chosen !== NO_PASSWORD)
      throw new ProtocolError("the viewer chose a way to log in that was not offered");
    if (minor >= 8) stream.write(Buffer.alloc(4));
  }
  await said(1);
}

export function serverInit({ width, height, format }: Server, name: string): Buffer {
  const text = Buffer.from(name, "utf8");
  const made = Buffer.alloc(24);
  made.writeUInt16BE(width, 0);
  made.writeUInt16BE(height, 2);
  format.copy(made, 4);
  made.writeUInt32BE(text.length, 20);
  return Buffer.concat([made, text]);
}
