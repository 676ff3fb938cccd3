/** Machines are spread over the places that they could be in. */
import { describe, expect, it } from "vitest";
import type { Policy } from "../kinds.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { obstacle, obstacles } from "../rules/rules.ts";
import { estateOf, hostView, machineView, policyOf } from "../testing/views.ts";
import type { Estate, MachineView } from "./estate.ts";
import { indexOf } from "./estate-index.ts";
import { depart, forDepartures } from "./moved.ts";

const machine = (name: string, host?: string, labels: Record<string, string> = {}) =>
  machineView(name, host, { labels, memoryBytes: 2 ** 28 });
const A = hostView("a", { site: "eu" });
const B = hostView("b", { site: "eu" });
const C = hostView("c", { site: "us" });
const estate = (machines: MachineView[], policies: Policy[], hosts = [A, B, C]) =>
  estateOf(hosts, machines, policies);
const placed = (of: Estate) => place(of, of.machines.at(-1) as MachineView);
const moves = (of: Estate) =>
  planMoves(of, { ...PLAN_DEFAULTS, now: 1e12, released: new Set() }).map(({ vm, to }) => `${vm} to ${to}`);
const EU = 'host.site == "eu"';

describe("a place that rules exclude", () => {
  it("holds no machine back for having none", () => {
    const spread = policyOf("s", { spread: "site", required: [EU] });
    expect(placed(estate([machine("m", "a"), machine("n")], [spread])).host).toMatch(/^[ab]$/);
    const hosts = policyOf("s", { spread: "host", required: [EU] });
    const three = estate([machine("m", "a"), machine("n", "b"), machine("o")], [hosts]);
    expect(placed(three).host).toMatch(/^[ab]$/);
    // Over those that remain they are spread.
    const two = estate([machine("m", "a"), machine("n")], [hosts]);
    expect(placed(two).host).toBe("b");
    expect(obstacle(two, two.machines[1] as MachineView, A)).toMatch(/1 of them here, 0 elsewhere/);
  });

  it("is none in a plan either: what is there stays, and is spread over the others", () => {
    const hosts = policyOf("s", { spread: "host", required: [EU] });
    expect(moves(estate([machine("m", "a"), machine("n", "b"), machine("o", "b")], [hosts]))).toEqual([]);
    expect(moves(estate([machine("m", "a"), machine("n", "a")], [hosts]))).toEqual([
      expect.stringMatching(/^[mn] to b$/),
    ]);
  });

  it("may be excluded by another policy of the machine, or by whom hosts are dedicated to", () => {
    const spread = policyOf("s", { spread: "site" });
    const only = policyOf("eu", { selector: { matchLabels: { eu: "yes" } }, required: [EU] });
    const two = [machine("m", "a", { eu: "yes" }), machine("n", undefined, { eu: "yes" })];
    expect(placed(estate(two, [spread, only])).host).toMatch(/^[ab]$/);
    // One that could be there is held to it.
    expect(placed(estate([machine("m", "a"), machine("n")], [spread, only])).host).toBe("c");
    const dedicated = hostView("c", { site: "us", dedicatedTo: "default/other" });
    expect(placed(estate([machine("m", "a"), machine("n")], [spread], [A, B, dedicated])).host).toMatch(
      /^[ab]$/,
    );
  });

  it("counts no more than others when it has machines: of others, or of ours from before", () => {
    const spread = policyOf("s", { spread: "site" });
    const only = policyOf("eu", { selector: { matchLabels: { eu: "yes" } }, required: [EU] });
    const eu = { eu: "yes" };
    const machines = [
      machine("m", "a", eu),
      machine("n", "b", eu),
      machine("u", "c"),
      machine("o", undefined, eu),
    ];
    expect(placed(estate(machines, [spread, only])).host).toMatch(/^[ab]$/);
  });

  it("is one whatever the hour: a price that is too high now excludes none", () => {
    const spread = policyOf("s", {
      spread: "site",
      required: ['host.site == "eu" || host.power.price < 0.3'],
    });
    const dear = { ...C, tariff: { pue: 1, price: 0.4 } };
    expect(placed(estate([machine("m", "a"), machine("n")], [spread], [A, B, dear])).reason).toMatch(
      /spreads its machines over sites: 1 of them here, 0 elsewhere/,
    );
    const both = policyOf("s", {
      spread: "site",
      required: ['host.site == "eu" && !(host.power.price > 0.3)'],
    });
    const cheap = [A, B].map((host) => ({ ...host, tariff: { pue: 1, price: 0.2 } }));
    expect(placed(estate([machine("m", "a"), machine("n")], [both], [...cheap, dear])).host).toMatch(
      /^[ab]$/,
    );
  });
});

it("a place that is full counts, and so does one that is closed and has some", () => {
  const spread = policyOf("s", { spread: "site" });
  const full = hostView("c", { site: "us", memoryBytes: 1 });
  expect(placed(estate([machine("m", "a"), machine("n")], [spread], [A, B, full])).host).toBeUndefined();
  const closed = { ...C, ready: false, closed: "it is not ready" };
  expect(placed(estate([machine("m", "a"), machine("n")], [spread], [A, B, closed])).host).toMatch(/^[ab]$/);
  const some = [machine("m", "a"), machine("n", "b"), machine("u", "c"), machine("o")];
  expect(placed(estate(some, [spread], [A, B, closed])).host).toBeUndefined();
});

it("where no place counts none has fewer than none", () => {
  const spread = policyOf("s", { spread: "site", required: ['host.site == "us"'] });
  const closed = { ...C, ready: false, closed: "it is not ready" };
  const of = estate([machine("m", "a"), machine("n", "b")], [spread], [A, B, closed]);
  expect([...obstacles(of, of.machines[0] as MachineView, A)].map(({ why }) => why)).toContain(
    'policy "s" spreads its machines over sites: 1 of them here, 0 elsewhere',
  );
});

it("is known of a machine that is another from then on, also where it goes", () => {
  const spread = policyOf("s", { spread: "site" });
  const only = policyOf("eu", { selector: { matchLabels: { eu: "yes" } }, required: [EU] });
  const of = forDepartures(estate([machine("m", "a"), machine("n", "b"), machine("o")], [spread, only]), 1);
  const index = indexOf(of);
  const may = () => obstacle(of, index.machines[2] as MachineView, B);
  expect(may()).toMatch(/2 of them here, 0 elsewhere/);
  expect(index.become(2, machine("o", undefined, { eu: "yes" }))).toBe(true);
  expect(may()).toBeUndefined();
  expect(depart(of, "default/m", "b")).toBe(true);
  expect(may()).toBeUndefined();
});
