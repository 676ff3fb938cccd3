/**
 * QMP, the QEMU Machine Protocol, over a unix socket. Answers are matched by id; events go to listeners at once.
 * Source: docs/interop/qmp-spec.rst. One monitor serves one client: a second connection gets no greeting until the first
 * closes, so a greeting that does not come means "somebody else holds it", not "dead".
 */
import type { Socket } from "node:net";
import { connectAt } from "./unix-socket.ts";

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
  /** Milliseconds since the epoch, by the host's clock. */
  timestampMs: number;
}

/** An answer `{"error": …}` of QEMU, or a broken connection (class "Disconnected") or a time-out (class "Timeout"). */
export class QmpError extends Error {
  readonly errorClass: string;
  constructor(errorClass: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.errorClass = errorClass;
  }
}

export type Fields = Record<string, unknown>;
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseMessage(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined; // a line that was cut by a crash
  }
}

/** One line of QMP as an event; undefined when it is something else or cut off. */
export function parseEvent(line: string): QmpEvent | undefined {
  const value = parseMessage(line);
  if (typeof value?.event !== "string") return undefined;
  const time = isFields(value.timestamp) ? value.timestamp : {};
  const [seconds, micros] = [Number(time.seconds ?? 0), Number(time.microseconds ?? 0)];
  return {
    event: value.event,
    data: isFields(value.data) ? value.data : {},
    timestampMs: seconds * 1000 + micros / 1000,
  };
}

/** Milliseconds by command: most answer at once; these may take long for good reasons. */
const TIMEOUTS: Readonly<Record<string, number>> = {
  quit: 60_000,
  device_del: 60_000,
  "object-add": 60_000,
  "blockdev-add": 60_000,
};
const DEFAULT_TIMEOUT_MS = 10_000;
/** Of one line, in characters: the longest answers, of what many disks have below them, are far below that. */
const MAX_LINE = 16 * 2 ** 20;

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: QmpError) => void;
  timer: NodeJS.Timeout;
}

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #onClose = new Set<() => void>();
  #next = 1;
  #rest = "";
  #closed = false;
  /** Whether QEMU offers that in its greeting. */
  #outOfBand = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Connects, waits for the greeting and negotiates capabilities. @throws QmpError */
  static async connect(path: string, timeoutMs = 5000): Promise<Qmp> {
    const socket = connectAt(path);
    const qmp = new Qmp(socket);
    let greeted: () => void = () => {};
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new QmpError(
            "Timeout",
            `${path}: no greeting within ${timeoutMs} ms; another client may hold the monitor`,
          ),
        );
        socket.destroy();
      }, timeoutMs);
      greeted = () => {
        clearTimeout(timer);
        resolve();
      };
      socket.on("error", (cause) => {
        clearTimeout(timer);
        reject(new QmpError("Disconnected", `${path}: ${cause.message}`, { cause }));
        qmp.#end();
      });
      socket.on("close", () => {
        clearTimeout(timer);
        reject(new QmpError("Disconnected", `${path}: closed`));
        qmp.#end();
      });
      socket.setEncoding("utf8");
      socket.on("data", (text: string) => qmp.#read(text, greeted));
    });
    try {
      const how = qmp.#outOfBand ? { enable: ["oob"] } : undefined;
      await qmp.execute("qmp_capabilities", how, timeoutMs);
    } catch (error) {
      qmp.close(); // a connection that is kept would keep everybody else out
      throw error;
    }
    return qmp;
  }

  #read(text: string, greeted: () => void): void {
    // A QEMU that was taken over may write without end.
    const end = text.indexOf("\n");
    if (this.#rest.length + (end < 0 ? text.length : end) > MAX_LINE) {
      this.#socket.destroy(new Error(`a line of more than ${MAX_LINE} characters`));
      return;
    }
    if (end < 0) {
      this.#rest += text;
      return;
    }
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.trim()) continue;
      const event = parseEvent(line);
      if (event) {
        for (const listener of this.#listeners) listener(event);
        continue;
      }
      const message = parseMessage(line);
      if (!message) continue;
      if ("QMP" in message) {
        const { capabilities } = isFields(message.QMP) ? message.QMP : {};
        this.#outOfBand = Array.isArray(capabilities) && capabilities.includes("oob");
        greeted();
      } else if (typeof message.id === "number") this.#answer(message.id, message);
    }
  }

  #answer(id: number, message: Fields): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return; // its time was over
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (isFields(message.error))
      waiting.reject(new QmpError(String(message.error.class), String(message.error.desc)));
    else waiting.resolve(message.return);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new QmpError("Disconnected", "QEMU closed the monitor"));
    }
    this.#waiting.clear();
    for (const listener of this.#onClose) listener();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** @returns the `return` value. @throws QmpError with QEMU's own description */
  execute(command: string, args?: Fields, timeoutMs?: number): Promise<unknown> {
    return this.#send("execute", command, args, timeoutMs);
  }

  /** As execute, also while QEMU is busy with something else and answers nothing; only the few commands that QEMU allows that for. */
  executeOutOfBand(command: string, args?: Fields, timeoutMs?: number): Promise<unknown> {
    return this.#send(this.#outOfBand ? "exec-oob" : "execute", command, args, timeoutMs);
  }

  #send(
    how: "execute" | "exec-oob",
    command: string,
    args?: Fields,
    timeoutMs = TIMEOUTS[command] ?? DEFAULT_TIMEOUT_MS,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new QmpError("Disconnected", "QEMU closed the monitor"));
      const id = this.#next++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new QmpError("Timeout", `${command}: no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ [how]: command, id, ...(args ? { arguments: args } : {}) })}\n`);
    });
  }

  /** @returns unsubscribe */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called once, at once when it is closed already. @returns unsubscribe */
  onClose(listener: () => void): () => void {
    if (this.#closed) listener();
    else this.#onClose.add(listener);
    return () => this.#onClose.delete(listener);
  }

  /** The first event that `wanted` accepts; undefined when time is over or the connection is closed. Subscribe before you act. */
  waitFor(wanted: (event: QmpEvent) => boolean, timeoutMs: number): Promise<QmpEvent | undefined> {
    return new Promise((resolve) => {
      const end = (event: QmpEvent | undefined) => {
        clearTimeout(timer);
        stopEvents();
        stopClose();
        resolve(event);
      };
      const timer = setTimeout(() => end(undefined), timeoutMs).unref();
      const stopEvents = this.onEvent((event) => {
        if (wanted(event)) end(event);
      });
      let stopClose: () => void = () => {};
      stopClose = this.onClose(() => end(undefined));
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }
}
