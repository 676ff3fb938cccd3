/**
 * A viewer at a machine's serial port. What the guest says comes whole and in order, also over a live migration: the source's agent hands out what its
 * run still said, then the target's from its first byte. Where something is missing, a line says so.
 */
import type { Duplex, Readable, Writable } from "node:stream";
import { type Attendance, taken } from "./attend.ts";
import type { Run } from "./runs.ts";

/** For the rest of what a run has said that is no more the machine. */
const REST_MS = 300;
const REST_MAX_MS = 5000;
/** What is typed while nobody can read it. */
const MAX_HELD_BYTES = 64 * 1024;

export class SerialSession implements Attendance {
  readonly #viewer: Writable;
  readonly #keyboard: Readable | undefined;
  readonly #tailLines: number;
  #at: { uid: string; position: number } | undefined;
  #to: Duplex | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** `viewer` gets what the guest says, `keyboard` gives what it is to read. */
  constructor(viewer: Writable, tailLines: number, keyboard?: Readable) {
    this.#viewer = viewer;
    this.#tailLines = tailLines;
    this.#keyboard = keyboard;
    keyboard?.on("data", (bytes: Buffer) => this.#type(bytes));
  }

  /** Where a session begins. */
  static firstPath = (run: Run, tailLines: number) => `/machines/${run.uid}/serial?tailLines=${tailLines}`;

  path(run: Run): string {
    const at = this.#at;
    if (!at) return SerialSession.firstPath(run, this.#tailLines);
    // Another run: whatever it has said, from its beginning.
    return `/machines/${run.uid}/serial?from=${at.uid === run.uid ? at.position : 0}`;
  }

  async attend(
    { socket, position }: { socket: Duplex; position: number },
    run: Run,
    { moved, over }: { moved: AbortSignal; over: AbortSignal },
  ): Promise<void> {
    const before = this.#at;
    const asked = before && (before.uid === run.uid ? before.position : 0);
    const at = { uid: run.uid, position };
    this.#at = at;
    if (asked !== undefined && position > asked)
      this.#viewer.write(
        `\r\n[vireo: ${position - asked} bytes of what the guest said are missing here]\r\n`,
      );
    this.#connect(socket);
    let timer: NodeJS.Timeout | undefined;
    // The last that it says may still be on its way.
    const rest = () => {
      clearTimeout(timer);
      timer = setTimeout(() => socket.destroy(), REST_MS);
    };
    const end = () => {
      if (over.aborted) return void socket.destroy();
      this.#to = undefined;
      rest();
      setTimeout(() => socket.destroy(), REST_MAX_MS).unref();
    };
    if (moved.aborted || over.aborted) end();
    moved.addEventListener("abort", end, { once: true });
    over.addEventListener("abort", end, { once: true });
    try {
      for await (const bytes of socket) {
        at.position += bytes.length;
        if (moved.aborted) rest();
        if (!this.#viewer.write(bytes)) await taken(this.#viewer, over);
        if (over.aborted || this.#viewer.destroyed) return;
      }
    } catch {
      // cut off; what comes next goes on from `at`
    } finally {
      clearTimeout(timer);
      moved.removeEventListener("abort", end);
      over.removeEventListener("abort", end);
      if (this.#to === socket) this.#to = undefined;
    }
  }

  #connect(socket: Duplex): void {
    this.#to = socket;
    for (const bytes of this.#held.splice(0)) socket.write(bytes);
    this.#heldBytes = 0;
  }

  /** To the guest; kept for the next run while there is none. */
  #type(bytes: Buffer): void {
    const to = this.#to;
    if (to) {
      if (to.write(bytes)) return;
      this.#keyboard?.pause();
      const go = () => this.#keyboard?.resume();
      to.once("drain", go);
      to.once("close", go);
      return;
    }
    if (this.#heldBytes + bytes.length > MAX_HELD_BYTES) return;
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }
}
