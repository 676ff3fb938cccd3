/**
 * Xen Orchestra's load balancer in the mode density, after its published sources (xo-server-load-balancer), with what it does in mode performance about hosts that are
 * too full.
 *
 *   start        XenServer's own: the host with the most free memory
 *   performance  hosts at 76.5 % CPU or with less than 1200 MB free send machines, those that use most first, to the best host, if that stays below 58.5 % and
 *                above 1500 MB; at most 2 a minute; a machine stays 30 minutes after it was moved
 *   density      a host other than the master with more than 1500 MB free is emptied when all of its machines fit, the largest memory first, into the hosts with the
 *                least free memory, the master first; then it is switched off. Without cooldown
 */
import type { Director } from "../../src/director/simulate/run.ts";
import { type Guest, moved, type Node, nodesOf, Starts } from "./common.ts";

const MB = 10 ** 6;
const CPU = { high: 0.765, low: 0.585 };
const FREE = { high: 1200 * MB, low: 1500 * MB };
const AT_ONCE = 2;
const COOLDOWN_MS = 30 * 60_000;

export function xenOrchestra(): Director {
  const starts = new Starts();
  const movedAt = new Map<string, number>();
  /** A mix of this minute and the last half hour, by host. */
  const mix = new Map<string, number>();
  return {
    name: "Xen Orchestra density",
    switchesOff: true,
    eachMinute: true,
    place: (estate, machine) =>
      starts.place(estate, machine, 0, (nodes) =>
        nodes.reduce<Node | undefined>(
          (best, node) => (!best || node.freeBytes > best.freeBytes ? node : best),
          undefined,
        ),
      ),
    look(estate, now, used) {
      const nodes = nodesOf(estate, (i) => used[i] ?? 0);
      for (const node of nodes) {
        const before = mix.get(node.name) ?? node.cpuLoad;
        mix.set(node.name, before + (node.cpuLoad - before) / 30);
      }
      const on = nodes.filter((node) => node.guests.length > 0);
      const moves = relieve(
        on,
        (node) => 0.75 * node.cpuLoad + 0.25 * (mix.get(node.name) ?? 0),
        (guest) => {
          const at = movedAt.get(guest.machine.key);
          return at === undefined || now - at >= COOLDOWN_MS;
        },
      );
      if (moves.length === 0) moves.push(...empty(on));
      for (const { key } of moves) movedAt.set(key, now);
      return moves;
    },
  };
}

function relieve(on: readonly Node[], average: (node: Node) => number, mayMove: (guest: Guest) => boolean) {
  const moves: { key: string; to: string }[] = [];
  const full = on.filter(
    (node) => Math.min(node.cpuLoad, average(node)) >= CPU.high || node.freeBytes < FREE.high,
  );
  for (const from of full) {
    const [best] = on.filter((node) => node !== from).sort((a, b) => a.cpuLoad - b.cpuLoad);
    if (!best) break;
    for (const guest of [...from.guests].sort((a, b) => b.used - a.used)) {
      if (moves.length >= AT_ONCE || (from.cpuLoad <= CPU.low && from.freeBytes >= FREE.low)) break;
      const fits =
        best.fits(guest) &&
        (best.used + guest.used) / best.processors < CPU.low &&
        best.freeBytes - guest.machine.memoryBytes > FREE.high;
      if (fits && mayMove(guest)) moves.push(moved(guest, from, best));
    }
  }
  return moves;
}

/** One host a minute. */
function empty(on: readonly Node[]) {
  const [master] = on;
  for (const from of on) {
    if (from === master || from.freeBytes <= FREE.low) continue;
    const others = on
      .filter((node) => node !== from)
      .sort((a, b) => Number(b === master) - Number(a === master) || a.freeBytes - b.freeBytes);
    const plan: { guest: Guest; to: Node }[] = [];
    const taken = new Map<Node, { bytes: number; used: number; cpus: number }>();
    const fits = [...from.guests]
      .sort((a, b) => b.machine.memoryBytes - a.machine.memoryBytes)
      .every((guest) => {
        const to = others.find((node) => {
          const { bytes = 0, used = 0, cpus = 0 } = taken.get(node) ?? {};
          return (
            node.freeBytes - bytes - guest.machine.memoryBytes > FREE.high &&
            (node.used + used + guest.used) / node.processors < CPU.low &&
            node.cpus + cpus + guest.machine.cpus <= node.host.cpus
          );
        });
        if (!to) return false;
        const { bytes = 0, used = 0, cpus = 0 } = taken.get(to) ?? {};
        taken.set(to, {
          bytes: bytes + guest.machine.memoryBytes,
          used: used + guest.used,
          cpus: cpus + guest.machine.cpus,
        });
        plan.push({ guest, to });
        return true;
      });
    if (fits) return plan.map(({ guest, to }) => moved(guest, from, to));
  }
  return [];
}
