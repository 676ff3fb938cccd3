/** Without which rules a machine could run that no host takes, where failover capacity is what refuses, or a part of it. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { failoverObstacle, failoverRules } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { GiB, hostView, machineView } from "../testing/views.ts";
import { place } from "./place.ts";

const host = (name: string, gib: number, more: Partial<HostView> = {}) =>
  hostView(name, { memoryBytes: gib * GiB, cpus: 64, ...more });
const machine = (name: string, gib: number, on?: string, app = "other") =>
  machineView(name, on, { labels: { app }, memoryBytes: gib * GiB });
const policy = (name: string, spec: Partial<Policy["spec"]>, namespace = "default"): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace },
  spec: { selector: { matchLabels: { app: name } }, automation: "act", priority: 0, ...spec },
});
const ONE = { failover: { per: "host", losses: 1 } } as const;

const HOSTS = [host("a", 4), host("b", 4), host("c", 4)];
/** What a has needs 3 GiB elsewhere when a is lost; what b has, too. */
const RUNNING = [machine("x", 3, "a", "web"), machine("y", 3, "b", "db")];
const newcomer = machine("new", 2);

function refused(of: Partial<Estate>, who = newcomer): string {
  const estate: Estate = { hosts: HOSTS, machines: [...RUNNING, who], policies: [], odd: [], ...of };
  const placement = place(estate, who);
  expect(placement.host).toBeUndefined();
  return placement.reason;
}
/** What a reader does who follows the advice. */
const without = (name: string, policies: Policy[]) =>
  policies.filter(({ metadata }) => metadata.name !== name);

it("names the policy whose failover is in the way, with which the machine is placed indeed", () => {
  const policies = [policy("web", ONE)];
  expect(refused({ policies })).toMatch(
    /c: policy "web" wants to survive it: .*; without failover per host \(policy "web"\) it could run on c$/,
  );
  const estate = {
    hosts: HOSTS,
    machines: [...RUNNING, newcomer],
    policies: without("web", policies),
    odd: [],
  };
  expect(place(estate, newcomer).host).toBe("c");
});

it("of two that compete for the room names one where that is enough, both where it is not", () => {
  const both = [policy("web", ONE), policy("db", ONE)];
  // Each loss needs the room by itself.
  expect(refused({ policies: both })).toMatch(
    /; without failover per host \(policy "(?:web"\) and failover per host \(policy "db|db"\) and failover per host \(policy "web)"\) it could run on c$/,
  );
  for (const { metadata } of both)
    expect(refused({ policies: without(metadata.name, both) })).toMatch(/wants to survive it/);
  // A loss of a needs room for both; for either there would be enough, beside the newcomer.
  const machines = [machine("x", 2, "a", "web"), machine("y", 2, "a", "db"), newcomer];
  const hosts = [host("a", 4), host("b", 3), host("c", 2)];
  const reason = refused({ policies: both, machines, hosts });
  expect(reason).toMatch(/; without failover per host \(policy "(web|db)"\) it could run on b, c$/);
  const [, named = ""] = /without failover per host \(policy "(\w+)"\)/.exec(reason) ?? [];
  const relaxed = { hosts, machines, policies: without(named, both), odd: [] };
  expect(place(relaxed, newcomer).host).toMatch(/^[bc]$/);
});

it("counts failover beside other rules, and does not advise to leave out a rule behind which it refuses, too", () => {
  const policies = [policy("web", ONE), policy("other", { required: ['host.name != "c"'] })];
  expect(refused({ policies })).toMatch(
    /; without host\.name != "c" \(policy "other"\) and failover per host \(policy "web"\) it could run on c$/,
  );
  // One rule by itself is less.
  const hosts = [...HOSTS, host("d", 2)];
  const fewer = [policy("web", ONE), policy("other", { required: ['!(host.name in ["c", "d"])'] })];
  const reason = refused({ hosts, policies: fewer });
  expect(reason).toMatch(/; without !\(host\.name in \["c", "d"\]\) \(policy "other"\) it could run on d$/);
});

it("tells of which namespace the policy is, when that is another one; and nothing where there is no room anyway", () => {
  const other = (m: MachineView) => ({ ...m, namespace: "shop", key: `shop/${m.name}` });
  const machines = [...RUNNING.map(other), newcomer];
  expect(refused({ machines, policies: [policy("web", ONE, "shop")] })).toMatch(
    /without failover per host \(policy "web" of namespace shop\) it could run on c$/,
  );
  const large = machine("new", 5);
  expect(refused({ policies: [policy("web", ONE)] }, large)).not.toContain("without");
});

it("of a machine that has to leave its host in maintenance failover reserves nothing", () => {
  const [a, ...others] = HOSTS as [HostView, ...HostView[]];
  const leaving = { ...a, maintenance: true, closed: "it is in maintenance" };
  const db = machine("z", 1, "a");
  const estate: Estate = {
    hosts: [leaving, ...others],
    machines: [machine("y", 3, "b", "db"), db, machine("full", 1, "b")],
    policies: [policy("db", ONE)],
    odd: [],
  };
  estate.machines.push(machine("more", 1, "c"));
  const c = indexOf(estate).hosts.get("c");
  expect(c && failoverObstacle(estate, db, c)).toMatch(/wants to survive it/);
  expect(place(estate, db, "a").host).toBe("c");
});

it("tells of many hosts how many say the same, whatever their figures", () => {
  const hosts = Array.from({ length: 12 }, (_, i) => host(`h${i}`, i < 9 ? 1 + i / 16 : 8));
  expect(refused({ hosts, policies: [policy("other", { required: ['host.site == "x"'] })] })).toMatch(
    /^9 hosts \(h0, h1, …\): not enough memory; 3 hosts \(h9, h10, …\): policy "other" requires host\.site == "x" \(host\.site is \); without /,
  );
});

it("leaving out what it names is enough, and so is no less of it, in any estate", () => {
  let several = 0;
  const drawn = fc.record({
    rooms: fc.array(fc.integer({ min: 2, max: 6 }), { minLength: 3, maxLength: 4 }),
    machines: fc.array(
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(), fc.constantFrom("web", "db", "none")),
      {
        minLength: 3,
        maxLength: 8,
      },
    ),
    gib: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(drawn, ({ rooms, machines, gib }) => {
      const own = machine("new", gib);
      const policies = [policy("web", ONE), policy("db", ONE)];
      const hosts = rooms.map((room, i) => host(`h${i}`, room));
      const estate: Estate = { hosts, machines: [own], policies, odd: [] };
      for (const [i, [size, at, app]] of machines.entries()) {
        const { name } = hosts[at % hosts.length] as HostView;
        const one = machine(`m${i}`, size, name, app);
        const { host: _, ...free } = one;
        const there = { ...estate, machines: [...estate.machines, free] };
        if (!obstacle(there, free, hosts[at % hosts.length] as HostView)) estate.machines.push(one);
      }
      for (const to of hosts) {
        if (obstacle(estate, own, to)) continue;
        const named = (failoverRules(estate, own)(to) ?? []).map((rule) => /"(\w+)"/.exec(rule)?.[1] ?? "");
        const inTheWay = (names: readonly string[]) =>
          failoverObstacle(
            { ...estate, policies: policies.filter(({ metadata }) => !names.includes(metadata.name)) },
            own,
            to,
          );
        expect(inTheWay(named)).toBeUndefined();
        for (let i = 0; i < named.length; i++) expect(inTheWay(named.toSpliced(i, 1))).toBeDefined();
        if (named.length > 1) several++;
      }
    }),
    { numRuns: 200, seed: 7 },
  );
  expect(several).toBeGreaterThan(0);
});
