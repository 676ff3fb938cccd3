/**
 * oVirt's scheduling policy power_saving, after its published sources (bll/scheduling), with automatic host power management switched on and no host in
 * reserve, as its defaults have it.
 *
 *   weigh    hosts are ranked by CPU (factor 2) and by memory (factor 1), the fullest first; the highest sum of ranks wins
 *   balance  each minute at most one machine in the cluster, the one that uses the least CPU: away from a host of at least 80 % CPU for 2 minutes, else off a host of
 *            less than 20 %, then to one between 20 % and 64 %; it stays at 80 % at most there. A machine that has not run counts 10 % for each CPU
 *   power    hosts without machines are switched off; one is switched on when an overused host has no other destination
 */
import type { Director } from "../../src/director/simulate/run.ts";
import { type Guest, moved, type Node, nodesOf, Starts } from "./common.ts";

const HIGH = 0.8;
const LOW = 0.2;
/** A destination has less: the smaller of 80 % of HIGH and 10 points less than it. */
const ROOM = Math.min(0.8 * HIGH, HIGH - 0.1);
const OVER_MINUTES = 2;
const ASSUMED = 0.1;
const FACTORS = { cpu: 2, memory: 1 };

export function ovirt(): Director {
  const starts = new Starts();
  const over = new Map<string, number>();
  return {
    name: "oVirt power_saving",
    switchesOff: true,
    eachMinute: true,
    place: (estate, machine) => starts.place(estate, machine, ASSUMED * machine.cpus, weigh),
    look(estate, _now, used) {
      const nodes = nodesOf(estate, (i) => used[i] ?? 0);
      for (const node of nodes)
        over.set(node.name, node.cpuLoad >= HIGH ? (over.get(node.name) ?? 0) + 1 : 0);
      const overused = nodes
        .filter(({ name }) => (over.get(name) ?? 0) >= OVER_MINUTES)
        .sort((a, b) => b.cpuLoad - a.cpuLoad);
      const idle = nodes
        .filter((node) => node.guests.length > 0 && node.cpuLoad < LOW)
        .sort((a, b) => a.cpuLoad - b.cpuLoad);
      const normal = nodes.filter(({ cpuLoad }) => cpuLoad > LOW && cpuLoad < ROOM);
      const off = nodes.filter(({ guests }) => guests.length === 0);
      for (const from of overused) {
        const move = leave(from, normal) ?? leave(from, idle) ?? leave(from, off);
        if (move) return [move];
      }
      for (const from of idle) {
        const move = leave(from, normal);
        if (move) return [move];
      }
      return [];
    },
  };
}

const allows = (node: Node, guest: Guest) =>
  node.fits(guest) && (node.used + guest.used) / node.processors <= HIGH;

/** The machine that uses the least CPU, to the host that weighs most. */
function leave(from: Node, nodes: readonly Node[]): { key: string; to: string } | undefined {
  for (const guest of [...from.guests].sort((a, b) => a.used - b.used)) {
    const to = weigh(
      nodes.filter((node) => node !== from && allows(node, guest)),
      guest,
    );
    if (to) return moved(guest, from, to);
  }
  return undefined;
}

function weigh(nodes: readonly Node[], guest: Guest): Node | undefined {
  const possible = nodes.filter((node) => allows(node, guest));
  const ranks = new Map<Node, number>();
  const rank = (by: (node: Node) => number, factor: number) => {
    const sorted = [...possible].sort((a, b) => by(b) - by(a));
    for (const [i, node] of sorted.entries())
      ranks.set(node, (ranks.get(node) ?? 0) + (sorted.length - 1 - i) * factor);
  };
  rank((node) => node.cpuLoad, FACTORS.cpu);
  rank((node) => node.memoryLoad, FACTORS.memory);
  return possible.reduce<Node | undefined>(
    (best, node) => (!best || (ranks.get(node) ?? 0) > (ranks.get(best) ?? 0) ? node : best),
    undefined,
  );
}
