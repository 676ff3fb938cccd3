import { expect, it } from "vitest";
import { domainOf, type Estate, type HostView, type MachineView } from "../estate/estate.ts";
import { DOMAINS, isWithin, type Policy } from "../kinds.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { estateOf, GiB, hostView, machineView, policyOf } from "../testing/views.ts";

const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, { site: "n", memoryBytes: 16 * GiB, mhz: 2000, ssd: true, ...more });
const machine = (name: string, app: string, on?: string) => machineView(name, on, { labels: { app } });
const policy = (name: string, spec: Partial<Policy["spec"]>) =>
  policyOf(name, { selector: { matchLabels: { app: name } }, ...spec });
const moves = (of: Estate) =>
  planMoves(of, { ...PLAN_DEFAULTS, now: 1e12, released: new Set() }).map(({ vm, to, reason }) => [
    vm,
    to,
    reason,
  ]);

it("a dedicated host takes machines of its policy alone, others leave", () => {
  const hosts = [host("own", { mhz: 4000, dedicatedTo: "default/sap" }), host("any")];
  const policies = [policy("sap", { required: ['host.dedicatedTo == "default/sap"'] }), policy("web", {})];
  const [sap, web, loose] = [machine("s", "sap"), machine("w", "web"), machine("l", "none")];
  const all = estateOf(hosts, [sap, web, loose], policies);
  expect(place(all, sap).host).toBe("own");
  expect(place(all, web).host).toBe("any");
  expect(place(all, loose).host).toBe("any");
  expect(place({ ...all, hosts: hosts.slice(0, 1) }, web).reason).toBe(
    "own: is dedicated to machines of policy default/sap",
  );
  expect(moves(estateOf(hosts, [machine("w", "web", "own"), machine("s", "sap", "any")], policies))).toEqual([
    ["s", "own", expect.stringContaining('requires host.dedicatedTo == "default/sap"')],
    ["w", "any", "on own is dedicated to machines of policy default/sap"],
  ]);
});

it("power feeds and rows are domains as racks are", () => {
  const hosts = [host("a", { feed: "f1" }), host("b", { feed: "f1" }), host("c", { feed: "f2" }), host("d")];
  const policies = [policy("web", { keepApart: "feed" })];
  const machines = [machine("w1", "web", "a"), machine("w2", "web"), machine("w3", "web", "c")];
  const placed = place(estateOf(hosts, machines, policies), machines[1] as MachineView);
  // Of no feed: it fails by itself.
  expect(placed.host).toBe("d");
  const full = place(estateOf(hosts.slice(0, 3), machines, policies), machines[1] as MachineView);
  expect(full.reason).toContain('b: policy "web" keeps its machines on different feeds, w1 is there');
  const [a, b] = hosts as [HostView, HostView];
  expect(domainOf(a, "feed")).toBe(domainOf(b, "feed"));
  expect(domainOf({ ...a, site: "s" }, "feed")).not.toBe(domainOf(b, "feed"));
  expect(domainOf({ ...a, row: "a" }, "row")).not.toBe(domainOf({ ...b, rack: "a" }, "row"));
});

it("what is within what", () => {
  const within = DOMAINS.flatMap((inner) =>
    DOMAINS.filter((outer) => isWithin(inner, outer)).map((outer) => `${inner} ${outer}`),
  );
  expect(within).toEqual([
    ...["host host", "host rack", "host row", "host feed", "host site"],
    ...["rack rack", "rack row", "rack site", "row row", "row site", "feed feed", "feed site", "site site"],
  ]);
});
