/** Latency sensitivity: hosts of sensitive machines are kept less full, and relieved by others. */
import { expect, it } from "vitest";
import { VirtualMachine } from "../../compute/kinds.ts";
import { NS, openEstate } from "../../compute/testing/estate.ts";
import { explain } from "../planning/explain.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { hostView } from "../testing/views.ts";
import type { Estate, MachineView } from "./estate.ts";
import { readEstate } from "./read-estate.ts";

const GiB = 2 ** 30;

/** With 8 processors each. */
const hosts = ["a", "b"].map((name) => hostView(name, { cpus: 16, memoryBytes: 64 * GiB }));

const machine = (name: string, on: string, expected: number, more: Partial<MachineView> = {}) => {
  const about = { key: `default/${name}`, namespace: "default", name, labels: {} };
  const needs = { cpus: 2, memoryBytes: 4 * GiB, use: { cpus: expected, expected } };
  return { ...about, ...needs, host: on, movable: true, since: 0, ...more } satisfies MachineView;
};
const high = { latencySensitivity: "high" } as const;

const estateOf = (machines: MachineView[]): Estate => ({ hosts, machines, policies: [], odd: [] });
const plan = (...machines: MachineView[]) =>
  planMoves(estateOf(machines), { ...PLAN_DEFAULTS, threshold: 9, now: 1e9, released: new Set() });

/** 6 of 8 processors. */
const four = [1, 2, 3].map((i) => machine(`m${i}`, "a", 1.5));

it("relieves a host that has a sensitive machine sooner, by its other machines", () => {
  expect(plan(...four, machine("game", "a", 1.5, { memoryBytes: GiB }))).toEqual([]);
  // 6 of 8 are beyond 65 %.
  const moves = plan(...four, machine("game", "a", 1.5, { memoryBytes: GiB, ...high }));
  expect(moves.map(({ vm, to }) => [vm, to])).toEqual([["m1", "b"]]);
  expect(moves[0]?.reason).toBe(
    "a is too busy for a machine with high latency sensitivity: its machines are expected to use 6.0 of 8 processors, this one 1.5",
  );
});

it("lets the sensitive machine go itself where no other can, and leaves it where no host is calmer", () => {
  const others = four.map((each) => ({ ...each, movable: false }));
  const game = machine("game", "a", 1.5, high);
  expect(plan(...others, game).map(({ vm, to }) => [vm, to])).toEqual([["game", "b"]]);
  expect(plan(...others, game, machine("n", "b", 3.5, { movable: false }))).toEqual([]);
});

it("places a sensitive machine where it has room, and others not where it needs that", () => {
  const placed = (of: MachineView, ...there: MachineView[]) => {
    const { host: _none, ...free } = of;
    return place(estateOf([...there, free]), free).host;
  };
  const quiet = machine("q", "b", 1);
  // The fuller host is liked less in any case: so b has what is declared.
  const declared = [1, 2, 3].map((i) => machine(`d${i}`, "b", 0.1, { cpus: 4, memoryBytes: 16 * GiB }));
  const busy = machine("x", "a", 4.5);
  expect(placed(machine("new", "", 0.5), busy, ...declared)).toBe("a");
  expect(placed(machine("new", "", 0.5, high), busy, ...declared)).toBe("b");
  expect(placed(machine("new", "", 0.5), { ...busy, ...high }, ...declared)).toBe("b");
  // Where nothing is calm enough, it runs all the same.
  expect(placed(machine("new", "", 5, high), busy, quiet)).toBeDefined();
});

it("tells what it means for the machine", () => {
  const told = (more: Partial<MachineView>) => {
    const game = machine("game", "a", 1, more);
    return explain(estateOf([game]), game.key)?.latency;
  };
  expect(told({})).toBeUndefined();
  expect(told({ latencySensitivity: "low" })).toMatch(/^low: it may stand still/);
  expect(told(high)).toMatch(/^high: a host that has it is full at 50 % of its processors, not at 80 %/);
});

it("is read of the machine's spec, also when it changes while it runs", async () => {
  const estate = await openEstate();
  try {
    await estate.createMachine("game", high);
    const seen = async () => (await readEstate(estate.client)).machines[0]?.latencySensitivity;
    expect(await seen()).toBe("high");
    const spec = { latencySensitivity: "low" } as const;
    await estate.client.patch(VirtualMachine, { name: "game", namespace: NS }, { spec });
    expect(await seen()).toBe("low");
  } finally {
    await estate.close();
  }
});
