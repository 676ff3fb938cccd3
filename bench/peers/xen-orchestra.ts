/**
 * Xen Orchestra's load balancer in the mode density, after its published sources (xo-server-load-balancer).
 *
 *   start    XenServer's own: the host with the most free memory
 *   density  each minute, every host other than the master with more than 1500 MB free is emptied when all of its machines fit, the largest memory first, into the hosts with
 *            the least free memory, the master first, below 90 % CPU and above 1000 MB free; then it is switched off. Hosts that are too full are not relieved
 */
import type { Director } from "../../src/director/simulate/run.ts";
import { type Guest, moved, type Node, nodesOf, Starts } from "./common.ts";

const MB = 10 ** 6;
const CRITICAL = { cpu: 0.9, freeBytes: 1000 * MB };
const EMPTIED_ABOVE = 1500 * MB;

export function xenOrchestra(): Director {
  const starts = new Starts();
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
    look: (estate, _now, used) =>
      emptied(nodesOf(estate, (i) => used[i] ?? 0).filter(({ guests }) => guests.length > 0)),
  };
}

function emptied(on: readonly Node[]): { key: string; to: string }[] {
  const moves: { key: string; to: string }[] = [];
  const [master] = on;
  for (const from of on) {
    if (from === master || from.freeBytes <= EMPTIED_ABOVE) continue;
    const others = on.filter((node) => node !== from && node.guests.length > 0);
    const tried: { guest: Guest; to: Node }[] = [];
    const fits = [...from.guests]
      .sort((a, b) => b.machine.memoryBytes - a.machine.memoryBytes)
      .every((guest) => {
        const to = others
          .sort((a, b) => Number(b === master) - Number(a === master) || a.freeBytes - b.freeBytes)
          .find(
            (node) =>
              node.fits(guest) &&
              (node.used + guest.used) / node.processors < CRITICAL.cpu &&
              node.freeBytes - guest.machine.memoryBytes > CRITICAL.freeBytes,
          );
        if (to) {
          tried.push({ guest, to });
          moved(guest, from, to);
        }
        return to !== undefined;
      });
    if (fits) moves.push(...tried.map(({ guest, to }) => ({ key: guest.machine.key, to: to.name })));
    else for (const { guest, to } of tried.reverse()) moved(guest, to, from);
  }
  return moves;
}
