/**
 * How many connections there may be, and how many of them from one address: no more than are still free for all others. So one client
 * gets at most half of them, two a third each, and whoever comes new finds room. The idea is that of dynamic thresholds in switches
 * (Choudhury and Hahne, 1998).
 */
import { readFileSync } from "node:fs";
import { isIPv6, type Socket } from "node:net";

/** Of the agents of a few thousand hosts, with about six watches each: one connection for each watch. */
const MOST = 20_000;

/** MOST, or what the limit of open files leaves room for. */
export function connectionLimit(limits = readLimits()): number {
  const files = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0);
  return files > 0 ? Math.min(MOST, Math.floor(files * 0.8)) : MOST;
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}

/** What counts as one client: an IPv4 address, or a network of 64 bits, of which everybody with IPv6 has a whole one. */
export function clientOf(address: string): string {
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined || !isIPv6(address)) return v4 ?? address;
  const [head = "", tail] = address.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array<string>(zeros).fill("0"), ...last];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

export class Connections {
  readonly #limit: number;
  readonly #open = new Map<string, number>();
  #all = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Open ones. */
  get size(): number {
    return this.#all;
  }

  /** Counts the connection until it is closed. @returns whether there is room for it; otherwise it is not counted */
  admit(socket: Pick<Socket, "remoteAddress" | "once">): boolean {
    const client = clientOf(socket.remoteAddress ?? "");
    const own = this.#open.get(client) ?? 0;
    if (own >= this.#limit - this.#all) return false;
    this.#open.set(client, own + 1);
    this.#all++;
    socket.once("close", () => {
      this.#all--;
      const left = (this.#open.get(client) ?? 1) - 1;
      if (left > 0) this.#open.set(client, left);
      else this.#open.delete(client);
    });
    return true;
  }
}
