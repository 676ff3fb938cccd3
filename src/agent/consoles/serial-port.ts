/**
 * One machine's serial port. QEMU has one listener for it, and that is us: all that the guest says goes to the log, and from there to whoever
 * looks on (any number); what they type goes to the guest. So nothing is ever kept twice, a slow viewer holds up nobody, and a viewer who was cut off
 * goes on where he was.
 *
 * QEMU writes no log itself: it would at the guest's speed, with nobody to bound it while the agent is away. Without us QEMU drops what the
 * guest says.
 */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { connectAt } from "../../qemu/unix-socket.ts";
import type { SerialLog } from "./serial-log.ts";

/** What a guest may say on average: some hundred times what a real port carries. One that says more waits, as with a real port. */
const SERIAL_BYTES_PER_SECOND = 2 ** 20;
const WINDOW_MS = 50;
const WINDOW_BYTES = (SERIAL_BYTES_PER_SECOND * WINDOW_MS) / 1000;
const PART_BYTES = 64 * 1024;

/** Told where somebody reads on who was not there. */
const AWAY =
  "\r\n[vireo: the agent of this host was away; what the guest said meanwhile was not recorded]\r\n";

export class SerialPort {
  readonly log: SerialLog;
  readonly #socket: Socket;
  readonly #viewers = new Set<Viewer>();
  readonly #onError: (error: unknown) => void;
  #window: NodeJS.Timeout | undefined;
  #taken = 0;
  #over = false;

  /** Resolves when the connection stands. `again`: the guest may have said something before. @throws Error when QEMU does not listen */
  static async open(
    path: string,
    options: { again: boolean; log: SerialLog; onEnd: () => void; onError: (error: unknown) => void },
  ): Promise<SerialPort> {
    const socket = connectAt(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const port = new SerialPort(socket, options.log, options.onError);
    socket.on("close", options.onEnd);
    if (options.again) port.#record(Buffer.from(AWAY));
    return port;
  }

  private constructor(socket: Socket, log: SerialLog, onError: (error: unknown) => void) {
    this.#socket = socket;
    this.log = log;
    this.#onError = onError;
    socket.on("data", (bytes: Buffer) => {
      this.#record(bytes);
      this.#throttle(bytes.length);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#over = true;
      clearTimeout(this.#window);
      for (const viewer of this.#viewers) viewer.more();
    });
  }

  /** QEMU has let go of it: nothing more is coming. */
  get isOver(): boolean {
    return this.#over;
  }

  /** What was said from `position` on and goes on being said; what is written to it, the guest reads. */
  view(position: number): Duplex {
    const viewer = new Viewer(this, this.#socket, position);
    this.#viewers.add(viewer);
    viewer.once("close", () => this.#viewers.delete(viewer));
    return viewer;
  }

  close(): void {
    this.#socket.destroy();
  }

  #record(bytes: Buffer): void {
    try {
      this.log.append(bytes);
    } catch (error) {
      this.#onError(error);
    }
    for (const viewer of this.#viewers) viewer.more();
  }

  #throttle(bytes: number): void {
    this.#taken += bytes;
    this.#window ??= setTimeout(() => {
      this.#window = undefined;
      this.#taken = 0;
      this.#socket.resume();
    }, WINDOW_MS);
    if (this.#taken >= WINDOW_BYTES) this.#socket.pause();
  }
}

/** Ends when the port has ended and all is read, or when what it should read next is not kept any more: who comes again sees the gap. */
class Viewer extends Duplex {
  readonly #port: SerialPort;
  readonly #socket: Socket;
  #position: number;
  #wanted = false;

  constructor(port: SerialPort, socket: Socket, position: number) {
    super({ allowHalfOpen: false });
    this.#port = port;
    this.#socket = socket;
    this.#position = position;
  }

  more(): void {
    if (!this.#wanted) return;
    // What `_read` throws, Node takes only where it calls it itself.
    try {
      this._read();
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  override _read(): void {
    this.#wanted = true;
    while (this.#wanted) {
      const { from, bytes } = this.#port.log.read(this.#position, PART_BYTES);
      const isLost = from !== this.#position;
      if (isLost || (bytes.length === 0 && this.#port.isOver)) {
        this.#wanted = false;
        this.push(null);
        return;
      }
      if (bytes.length === 0) return;
      this.#position += bytes.length;
      this.#wanted = this.push(bytes);
    }
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // What nobody reads any more is dropped, as a cable that hangs loose would.
    if (this.#socket.destroyed) done();
    else this.#socket.write(bytes, () => done());
  }
}
