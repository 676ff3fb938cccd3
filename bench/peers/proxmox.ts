/**
 * Proxmox VE's cluster resource scheduling, after its published sources (pve-ha-manager Usage/*.pm; proxmox-resource-scheduling topsis.rs, node.rs 2.1.0).
 *
 *   start      TOPSIS over the nodes with the guest at its configured maximum: average and highest CPU (weights 1, 2) and memory (5, 10)
 *   rebalance  load = (cpu + memory) / 2; when stddev / mean / sqrt(n - 1) has been above 0.3 for 3 rounds of 10 s, the best single move if it makes that
 *              at least a tenth better; one at a time
 * It has no power management: hosts stay on.
 */
import type { Director } from "../../src/director/simulate/run.ts";
import { type Guest, moved, type Node, nodesOf, Starts } from "./common.ts";

const THRESHOLD = 0.3;
const ROUNDS = 3;
const ROUNDS_A_MINUTE = 6;
const MARGIN = 0.1;
const WEIGHTS = [1, 2, 5, 10].map((weight) => weight / 18);

export function proxmox(normalised: boolean): Director {
  const starts = new Starts();
  let above = 0;
  return {
    name: normalised ? "Proxmox" : "Proxmox, raw",
    switchesOff: false,
    eachMinute: true,
    place: (estate, machine) => starts.place(estate, machine, machine.cpus, topsis),
    look(estate, _now, used) {
      const nodes = nodesOf(estate, (i) => used[i] ?? 0);
      const moves: { key: string; to: string }[] = [];
      for (let round = 0; round < ROUNDS_A_MINUTE; round++) {
        const imbalance = imbalanceOf(nodes.map(loadOf), normalised);
        above = imbalance > THRESHOLD ? above + 1 : 0;
        if (above < ROUNDS) continue;
        above = 0;
        const best = bestMove(nodes, normalised);
        if (best && (imbalance - best.imbalance) / imbalance >= MARGIN)
          moves.push(moved(best.guest, best.from, best.to));
      }
      return moves;
    },
  };
}

const loadOf = (node: Node) => (node.cpuLoad + node.memoryLoad) / 2;

function imbalanceOf(loads: readonly number[], normalised: boolean): number {
  const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length;
  if (mean === 0) return 0;
  const deviation = Math.sqrt(loads.reduce((sum, load) => sum + (load - mean) ** 2, 0) / loads.length);
  return deviation / mean / (normalised ? Math.sqrt(loads.length - 1) : 1);
}

/** By brute force. */
function bestMove(nodes: readonly Node[], normalised: boolean) {
  const loads = nodes.map(loadOf);
  let best: { guest: Guest; from: Node; to: Node; imbalance: number } | undefined;
  for (const [f, from] of nodes.entries())
    for (const guest of from.guests)
      for (const [t, to] of nodes.entries()) {
        if (t === f || !to.fits(guest)) continue;
        const { memoryBytes } = guest.machine;
        const share = (node: Node) =>
          (guest.used / node.processors + memoryBytes / node.host.memoryBytes) / 2;
        const [before, there] = [loads[f] ?? 0, loads[t] ?? 0];
        loads[f] = before - share(from);
        loads[t] = there + share(to);
        const imbalance = imbalanceOf(loads, normalised);
        if (!best || imbalance < best.imbalance) best = { guest, from, to, imbalance };
        loads[f] = before;
        loads[t] = there;
      }
  return best;
}

const rms = (values: readonly number[]) =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

/** Ties by name. */
function topsis(nodes: readonly Node[], { machine }: Guest): Node | undefined {
  const rows = nodes.map((candidate) => {
    const at = (node: Node) => (node === candidate ? 1 : 0);
    const cpu = nodes.map((node) => (node.cpus + at(node) * machine.cpus) / node.processors);
    const memory = nodes.map(
      (node) => (node.memoryBytes + at(node) * machine.memoryBytes) / node.host.memoryBytes,
    );
    return [1 + rms(cpu), 1 + Math.max(...cpu), 1 + rms(memory), 1 + Math.max(...memory)];
  });
  const weighed = rows.map((row) =>
    row.map((value, c) => (value / Math.hypot(...rows.map((each) => each[c] ?? 0))) * (WEIGHTS[c] ?? 0)),
  );
  const column = (c: number) => weighed.map((row) => row[c] ?? 0);
  const best = WEIGHTS.map((_, c) => Math.min(...column(c)));
  const worst = WEIGHTS.map((_, c) => Math.max(...column(c)));
  const distance = (row: readonly number[], to: readonly number[]) =>
    Math.hypot(...row.map((value, c) => value - (to[c] ?? 0)));
  let chosen: { node: Node; score: number } | undefined;
  for (const [i, node] of nodes.entries()) {
    const row = weighed[i] ?? [];
    const [toBest, toWorst] = [distance(row, best), distance(row, worst)];
    const score = toBest + toWorst === 0 ? 0 : toWorst / (toBest + toWorst);
    if (!chosen || score > chosen.score + 1e-12) chosen = { node, score };
  }
  return chosen?.node;
}
