/**
 * A viewer at a machine's screen. RFB is a conversation with one server from its first byte to its last; so that the machine can move meanwhile, the
 * control plane is that server to the viewer, and a viewer to each QEMU in turn:
 *
 *   viewer ── greeted once ──► session ── greeted anew ──► QEMU of this run, then of the next
 *
 * Messages pass whole in both directions. At a change the new QEMU is told the pixel format and encodings that the viewer has asked for, and asked
 * for the whole screen; the viewer sees one more update, and another size when that has changed.
 */
import type { Duplex } from "node:stream";
import { type Attendance, taken } from "./attend.ts";
import {
  allowedEncodings,
  clientMessage,
  setPixelFormat,
  TYPES,
  updateRequest,
} from "./rfb/client-messages.ts";
import { greetServer, greetViewer, serverInit } from "./rfb/handshake.ts";
import { Messages, ProtocolError } from "./rfb/parse.ts";
import { ENCODINGS, type Screen, serverMessage } from "./rfb/server-messages.ts";
import type { Run } from "./runs.ts";

/** What is typed between two runs is for nobody. */
export class VncSession implements Attendance {
  readonly #viewer: Duplex;
  readonly #name: string;
  #screen: Screen | undefined;
  #encodings: { message: Buffer; encodings: readonly number[] } | undefined;
  #to: Duplex | undefined;
  /** What the viewer did wrong: the end of its session. */
  #wrong: unknown;

  /** @param name what viewers show as title */
  constructor(viewer: Duplex, name: string) {
    this.#viewer = viewer;
    this.#name = name;
  }

  static path = (run: Run) => `/machines/${run.uid}/vnc`;

  path(run: Run): string {
    return VncSession.path(run);
  }

  async attend(
    { socket }: { socket: Duplex },
    _run: Run,
    { moved, over }: { moved: AbortSignal; over: AbortSignal },
  ): Promise<void> {
    const until = AbortSignal.any([moved, over]);
    const end = () => void socket.destroy();
    if (until.aborted) return end();
    until.addEventListener("abort", end, { once: true });
    try {
      const server = await greetServer(socket);
      if (this.#screen) this.#goOn(socket, server);
      else {
        const screen = { ...server, restartTight: false };
        await greetViewer(this.#viewer);
        this.#screen = screen;
        this.#viewer.write(serverInit(screen, this.#name));
        this.#listen();
      }
      this.#to = socket;
      if (!this.#wrong) await this.#pass(socket, over);
    } catch (error) {
      // A connection that is cut off does not end the session; nonsense does, and what the viewer cannot be told.
      if (error instanceof ProtocolError) throw error;
    } finally {
      until.removeEventListener("abort", end);
      if (this.#to === socket) this.#to = undefined;
      socket.destroy();
    }
    if (this.#wrong) throw this.#wrong;
  }

  /** To another server: all that this viewer's conversation rests on. */
  #goOn(socket: Duplex, { width, height }: { width: number; height: number }): void {
    const screen = this.#screen;
    if (!screen) return;
    screen.restartTight = true;
    socket.write(setPixelFormat(screen.format));
    if (this.#encodings) socket.write(this.#encodings.message);
    if (width !== screen.width || height !== screen.height) this.#resize(screen, width, height);
    // Whether it waits for one or not: a screen that nothing changes on would stay the old one.
    socket.write(updateRequest(width, height));
  }

  #resize(screen: Screen, width: number, height: number): void {
    const can = (encoding: number) => this.#encodings?.encodings.includes(encoding);
    const extended = can(ENCODINGS.extendedDesktopSize);
    if (!extended && !can(ENCODINGS.desktopSize))
      throw new ProtocolError("the screen has another size now, and the viewer cannot change its own");
    const message = Buffer.alloc(extended ? 36 : 16);
    message.writeUInt16BE(1, 2);
    message.writeUInt16BE(width, 8);
    message.writeUInt16BE(height, 10);
    message.writeInt32BE(extended ? ENCODINGS.extendedDesktopSize : ENCODINGS.desktopSize, 12);
    if (extended) {
      message[16] = 1;
      message.writeUInt16BE(width, 28);
      message.writeUInt16BE(height, 30);
    }
    Object.assign(screen, { width, height });
    this.#viewer.write(message);
  }

  /** Whole messages of this server, to the viewer. */
  async #pass(socket: Duplex, over: AbortSignal): Promise<void> {
    const screen = this.#screen;
    if (!screen) return;
    const messages = new Messages(() => serverMessage(screen));
    for await (const bytes of socket)
      for (const message of messages.push(bytes)) {
        if (!this.#viewer.write(message)) await taken(this.#viewer, over);
        if (over.aborted || this.#viewer.destroyed) return;
      }
  }

  /** Whole messages of the viewer, to the server that there is. */
  #listen(): void {
    const messages = new Messages(clientMessage);
    this.#viewer.on("data", (bytes: Buffer) => {
      if (this.#wrong) return;
      try {
        for (const message of messages.push(bytes)) this.#say(message);
      } catch (error) {
        this.#wrong = error;
        this.#to?.destroy();
      }
    });
  }

  #say(message: Buffer): void {
    const screen = this.#screen;
    const [type] = message;
    let said = message;
    if (type === TYPES.setPixelFormat && screen) screen.format = Buffer.from(message.subarray(4, 20));
    if (type === TYPES.setEncodings) {
      this.#encodings = allowedEncodings(message);
      said = this.#encodings.message;
    }
    this.#to?.write(said);
  }
}
