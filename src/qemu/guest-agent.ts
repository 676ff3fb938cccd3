/**
 * qemu-ga, the agent inside the guest, over its virtio-serial channel. It may be absent, old, or hung: everything is bounded.
 *
 * The connection is kept for a while, and one command goes after the other: as long as nobody is connected, qemu-ga looks every 100 ms only whether
 * somebody is, and each new connection would wait for that.
 */
import type { Socket } from "node:net";
import { isFields } from "./qmp.ts";
import { StringCutter } from "./string-cutter.ts";
import { connectAt } from "./unix-socket.ts";

/** What is kept of one answer, in UTF-16 units. The guest may be hostile: what it sends must not fill the agent's memory. */
const MAX_ANSWER = 2 ** 20;

/** Of each string in it: base64 of 288 KiB, which in any script is more letters than are shown of what a program says. A multiple of base64's four. */
const MAX_STRING = 3 * 2 ** 17;

/** What is read of one answer. A program may have said 16 MiB on each output (GUEST_EXEC_MAX_OUTPUT), which is 43 MiB by base64. */
const MAX_READ = 2 ** 26;

/** A connection that nobody uses is kept for so long. */
const IDLE_MS = 5000;

/** A byte that is never in JSON: makes the agent's parser forget half a command that an earlier client left behind. */
const FLUSH = Buffer.from([0xff]);

type Answer = { value: unknown } | { error: string } | undefined;

/** @returns its `return` value, or undefined when no agent answered in time or it refused the command */
export async function askGuestAgent(
  path: string,
  command: string,
  timeoutMs: number,
  args?: Record<string, unknown>,
): Promise<unknown | undefined> {
  const answer = await callGuestAgent(path, command, timeoutMs, args);
  return answer && "value" in answer ? answer.value : undefined;
}

/**
 * Runs one command. A guest-sync at the connection's begin tells our answers from leftovers of earlier clients. Strings in the answer are cut
 * short (string-cutter.ts).
 * @returns its `return` value, or why the agent refused it; undefined when none answered in time
 */
export function callGuestAgent(
  path: string,
  command: string,
  timeoutMs: number,
  args?: Record<string, unknown>,
): Promise<Answer> {
  return new Promise((resolve) => {
    const message = { execute: command, ...(args ? { arguments: args } : {}) };
    Channel.of(path).add({ message, deadline: performance.now() + timeoutMs, timer: undefined, resolve });
  });
}

/** Connects, so that an agent which was connected when its guest's memory was kept finds that it still is. */
export function connectGuestAgent(path: string): void {
  Channel.of(path);
}

interface Call {
  message: Record<string, unknown>;
  /** By performance.now. */
  deadline: number;
  timer: NodeJS.Timeout | undefined;
  resolve: (answer: Answer) => void;
}

const channels = new Map<string, Channel>();

class Channel {
  readonly #path: string;
  readonly #socket: Socket;
  readonly #sync = Math.floor(Math.random() * 2 ** 31);
  #synced = false;
  #rest = "";
  #received = 0;
  #cut = new StringCutter(MAX_STRING);
  /** The first is under way. */
  #calls: Call[] = [];
  #sent: Call | undefined;
  #idleTimer: NodeJS.Timeout;

  static of(path: string): Channel {
    const channel = channels.get(path) ?? new Channel(path);
    channels.set(path, channel);
    return channel;
  }

  private constructor(path: string) {
    this.#path = path;
    this.#socket = connectAt(path);
    this.#socket.unref();
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (text: string) => this.#read(text));
    this.#socket.on("error", () => this.#end(false));
    this.#socket.on("close", () => this.#end(false));
    this.#idleTimer = this.#idle();
    this.#socket.write(FLUSH);
    this.#send({ execute: "guest-sync", arguments: { id: this.#sync } });
  }

  add(call: Call): void {
    call.timer = setTimeout(() => this.#late(call), Math.max(0, call.deadline - performance.now()));
    this.#calls.push(call);
    this.#next();
  }

  #send(message: Record<string, unknown>): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  #idle(): NodeJS.Timeout {
    return setTimeout(() => this.#end(false), IDLE_MS).unref();
  }

  #next(): void {
    const [call] = this.#calls;
    clearTimeout(this.#idleTimer);
    if (!call) {
      this.#socket.unref();
      this.#idleTimer = this.#idle();
      return;
    }
    this.#socket.ref();
    if (!this.#synced || this.#sent === call) return;
    this.#sent = call;
    this.#received = 0;
    this.#send(call.message);
  }

  #late(call: Call): void {
    const isUnanswered = !this.#synced || this.#sent === call;
    this.#calls = this.#calls.filter((each) => each !== call);
    call.resolve(undefined);
    // An answer that comes too late must not be taken for that to the next command: the connection goes with the command.
    if (isUnanswered) this.#end(true);
  }

  #read(text: string): void {
    this.#received += text.length;
    const lines = (this.#rest + this.#cut.next(text)).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#received > MAX_READ || this.#rest.length > MAX_ANSWER) {
      this.#end(false);
      return;
    }
    for (const line of lines) {
      const message = parse(line);
      if (!message) continue;
      if (!this.#synced) {
        this.#synced = message.return === this.#sync;
        if (this.#synced) this.#next();
        continue;
      }
      if (!this.#sent) continue;
      const { resolve, timer } = this.#sent;
      clearTimeout(timer);
      this.#sent = undefined;
      this.#calls.shift();
      resolve("error" in message ? { error: reasonIn(message.error) } : { value: message.return });
      this.#next();
    }
  }

  /** @param again whether those that wait have their turn on another connection */
  #end(again: boolean): void {
    clearTimeout(this.#idleTimer);
    if (channels.get(this.#path) === this) channels.delete(this.#path);
    this.#socket.destroy();
    for (const call of this.#calls.splice(0)) {
      clearTimeout(call.timer);
      if (again) Channel.of(this.#path).add(call);
      else call.resolve(undefined);
    }
  }
}

/** The guest's own words, cut short. */
const reasonIn = (error: unknown) => String(isFields(error) ? error.desc : error).slice(0, 300);

function parse(line: string): Record<string, unknown> | undefined {
  try {
    // A guest that was interrupted may begin with bytes that are no JSON.
    const value: unknown = JSON.parse(line.slice(Math.max(0, line.indexOf("{"))));
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
