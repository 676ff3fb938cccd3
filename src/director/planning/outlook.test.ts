/** The estate before and after a plan: what it tells, what it does not know, and what comes first. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { GiB, hostView, machineView } from "../testing/views.ts";
import type { EstateFigures } from "./kinds.ts";
import { outlookOf } from "./outlook.ts";
import { changesOf, untoldOf } from "./outlook-words.ts";

const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, {
    ...{ site: "north", cpus: 4, cores: 2, mhz: 2000, cpuModel: name, idleWatts: 100, maxWatts: 300 },
    ...{ accelerator: "tcg", ssd: true },
    ...more,
  });
const move = (vm: string, from: string, to: string) => ({ namespace: "default", vm, from, to });
const apart: Policy = {
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "apart", namespace: "default" },
  spec: { selector: {}, keepApart: "host", automation: "ask", priority: 0 },
};
const rest = async () => {};
const estate = (hosts: HostView[], machines: MachineView[], more: Partial<Estate> = {}): Estate => ({
  hosts,
  machines,
  policies: [],
  odd: [],
  ...more,
});

it("tells hosts, watts, cost, CO2 and broken rules before and after, and of each host that takes part", async () => {
  const before = estate(
    [host("a"), host("b"), host("idle"), host("other")],
    [machineView("x", "a"), machineView("y", "a")],
    { policies: [apart], sites: new Map([["north", { pue: 1.5, price: 0.4, carbon: 200 }]]) },
  );
  const outlook = await outlookOf(before, [move("x", "a", "b")], rest);
  // Two of a's four CPUs are half of the way from 100 to 300 W; one on each host a quarter of it, twice.
  expect(outlook).toMatchObject({
    before: {
      hostsInUse: 1,
      watts: 200,
      costPerHour: 0.12,
      carbonGramsPerHour: 60,
      // Each of the two may not be where the other is.
      rulesBroken: 2,
    },
    after: { hostsInUse: 2, watts: 300, costPerHour: 0.18, carbonGramsPerHour: 90, rulesBroken: 0 },
    hosts: [
      {
        name: "b",
        capacity: { cpus: 4, memoryBytes: 8 * GiB, watts: 300 },
        before: { machines: 0, cpus: 0, memoryBytes: 0, watts: 0 },
        after: { machines: 1, cpus: 1, memoryBytes: GiB, watts: 150 },
      },
      { name: "a", before: { machines: 2, watts: 200 }, after: { machines: 1, watts: 150 } },
    ],
  });
  expect(
    changesOf(outlook).map(({ name, text, before, after }) => [name, text(before), text(after)]),
  ).toEqual([
    ["hosts in use", "1", "2"],
    ["watts", "200 W", "300 W"],
    ["cost an hour", "0.120", "0.180"],
    ["CO2 an hour", "60 g", "90 g"],
    ["rules broken", "2", "0"],
  ]);
});

it("does not make up what nobody tells, and says so", async () => {
  const silent = (name: string) => {
    const { idleWatts: _, maxWatts: __, ...rest } = host(name, { site: "" });
    return rest;
  };
  const all = await outlookOf(
    estate([silent("a"), silent("b")], [machineView("x", "a")]),
    [move("x", "a", "b")],
    rest,
  );
  expect(all.before).toEqual({ hostsInUse: 1, hostsWithoutWatts: 1, rulesBroken: 0 });
  expect(all.hosts[0]?.before).not.toHaveProperty("watts");
  expect(changesOf(all).map(({ name }) => name)).toEqual(["hosts in use", "rules broken"]);
  expect(untoldOf(all)).toMatch("One of the hosts in use does not tell its watts");
  // One of two: the other's are the sum, with a word about it.
  const some = await outlookOf(
    estate([silent("a"), host("b")], [machineView("x", "a"), machineView("y", "b")]),
    [move("y", "b", "a")],
    rest,
  );
  expect(some).toMatchObject({ before: { watts: 150, hostsWithoutWatts: 1 }, after: { hostsInUse: 1 } });
  expect(some.after).not.toHaveProperty("watts");
});

it("calls alike what reads alike, and tells differences of what is read", () => {
  const told = (before: Partial<EstateFigures>, after: Partial<EstateFigures>) =>
    changesOf({
      before: { hostsInUse: 1, rulesBroken: 0, ...before },
      after: { hostsInUse: 1, rulesBroken: 0, ...after },
      hosts: [],
    })
      .filter((change) => change.before !== change.after)
      .map(({ before: was, after: will, text }) => [text(was), text(will), text(Math.abs(will - was))]);
  expect(told({ watts: 100.1, costPerHour: 0.1201 }, { watts: 100.4, costPerHour: 0.1204 })).toEqual([]);
  expect(told({ watts: 100.4 }, { watts: 100.6 })).toEqual([["100 W", "101 W", "1 W"]]);
  expect(told({ costPerHour: 12.4 }, { costPerHour: 11.62 })).toEqual([["12.40", "11.62", "0.780"]]);
});

it("stays small: of a plan that touches many hosts it tells those that change most", async () => {
  const many = Array.from({ length: 100 }, (_, i) => `h${String(i).padStart(2, "0")}`);
  const machines = many.map((name) => machineView(`m-${name}`, name));
  const target = host("target", { cpus: 200, memoryBytes: 400 * GiB });
  const outlook = await outlookOf(
    estate([target, ...many.map((name) => host(name))], machines),
    many.map((name) => move(`m-${name}`, name, "target")),
    rest,
  );
  expect(outlook.hosts).toHaveLength(60);
  expect(outlook.moreHosts).toBe(41);
  // All are emptied; the target is taken into use, and by the most of it.
  expect(outlook.hosts[0]).toMatchObject({ name: "target", after: { machines: 100 } });
});

it("rests while it looks at many machines, and counts all of them", async () => {
  let rests = 0;
  const machines = Array.from({ length: 2500 }, (_, i) => machineView(`m${i}`, "a"));
  const outlook = await outlookOf(
    estate([host("a", { cpus: 4000, memoryBytes: 4000 * GiB }), host("b")], machines, { policies: [apart] }),
    [move("m0", "a", "b")],
    async () => void rests++,
  );
  expect(outlook.before.rulesBroken).toBe(2500);
  expect(outlook.after.rulesBroken).toBe(2499);
  expect(rests).toBe(4);
});
