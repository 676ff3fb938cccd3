/** An explanation: what each policy contributes, all that stands against each host, and by whose terms others are worse; bounded on a large estate. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { explain } from "./explain.ts";

const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, { memoryBytes: 8 * GiB, cpus: 8, ssd: true, idleWatts: 50, maxWatts: 150, ...more });
const machine = (name: string, on?: string, more: Partial<MachineView> = {}) =>
  machineView(name, on, { labels: { app: "web" }, cpus: 2, memoryBytes: 2 * GiB, ...more });
const policy = (name: string, spec: Partial<Policy["spec"]>) =>
  policyOf(name, { selector: { matchLabels: { app: "web" } }, ...spec });
const explained = (of: Partial<Estate>, key = "default/web-1", limit?: number) => {
  const found = explain({ hosts: [], machines: [], policies: [], odd: [], ...of }, key, limit);
  if (!found) throw new Error(`nothing is said of ${key}`);
  return found;
};
const named = ({ hosts }: ReturnType<typeof explained>, name: string) => {
  const found = hosts.find((each) => each.name === name);
  if (!found) throw new Error(`nothing is said of ${name}`);
  return found;
};

const FAST = policy("fast", { priority: 10, goals: [{ goal: "performance", weight: 1 }] });
const DISKS = policy("disks", {
  goals: [{ goal: "packing", weight: 1 }],
  required: ["host.disk.ssd", "host.cpu.mhz >= 2000"],
  preferred: [{ rule: "host.link.mbps >= 10000", weight: 10 }],
  keepApart: "rack",
  atMost: { per: "site", machines: 2 },
  overcommit: { cpu: 1.5 },
});

it("tells what each policy contributes where the machine is, in figures, and which goals do not count", () => {
  const { about, policies } = explained({
    hosts: [host("a", { mhz: 3000 }), host("b", { mhz: 1500, site: "x" })],
    machines: [machine("web-1", "a"), machine("web-2", "b")],
    policies: [DISKS, FAST],
  });
  expect(about).toBe("a");
  expect(policies).toEqual([
    {
      name: "fast",
      goal: "performance",
      score: expect.closeTo(0.87),
      says: ["goals: speed 1.00 × 0.60 = 0.60 (3000 MHz), room 0.67 × 0.40 = 0.27 (67 % free with it)"],
    },
    {
      name: "disks",
      goal: "packing",
      score: 0,
      says: [
        'its goals (packing) do not count beside those of policy "fast"',
        "prefers host.link.mbps >= 10000: no, 0.00 × 0.50 = 0.00",
        "requires host.disk.ssd: kept (host.disk.ssd is true)",
        "requires host.cpu.mhz >= 2000: kept (host.cpu.mhz is 3000)",
        "keepApart: rack: kept, no other there",
        "atMost per site: kept, 1 with it, 2 at most",
        "overcommit.cpu: 1.5: kept, 2 CPUs given out, 6 at most",
      ],
    },
  ]);
});

it("tells failover, groups and rules that are broken where it is", () => {
  const { policies, hosts } = explained({
    hosts: [host("a", { mhz: 1000 }), host("b", { mhz: 1000, memoryBytes: GiB })],
    machines: [machine("web-1", "a"), machine("web-2", "a")],
    policies: [
      policy("all", {
        required: ["host.cpu.mhz >= 500", "host.cpu.mhz >= 2000"],
        keepTogether: "host",
        spread: "host",
        failover: { per: "host", losses: 1 },
        moves: { never: true },
      }),
    ],
  });
  expect(policies[0]?.says?.slice(1)).toEqual([
    "requires host.cpu.mhz >= 2000: broken (host.cpu.mhz is 1000)",
    "requires host.cpu.mhz >= 500: kept (host.cpu.mhz is 1000)",
    "keepTogether: host: kept, 1 other there, 0 elsewhere",
    "spread: host: broken, 1 other there, 0 where the fewest are",
    "failover per host: the loss of host a is not survived: web-1 finds no room elsewhere",
    "moves.never: it is not moved while it runs",
  ]);
  expect(hosts.find(({ name }) => name === "a")).toMatchObject({ chosen: true, ruledOut: true });
});

it("tells all that stands against a host: what would have to change", () => {
  const of = explained({
    hosts: [
      host("a"),
      host("b", { ssd: false, mhz: 1000, memoryBytes: 3 * GiB, site: "y", dedicatedTo: "default/other" }),
      host("c", { closed: "it is in maintenance" }),
    ],
    machines: [machine("web-1", "a"), machine("web-2", "b"), machine("web-3", "b", { cpus: 10 })],
    policies: [DISKS],
  });
  expect(named(of, "b")).toEqual({
    name: "b",
    chosen: false,
    ruledOut: true,
    verdict: expect.stringMatching(
      /^ruled out: is dedicated to machines of policy default\/other; needs 2Gi memory/,
    ),
    against: [
      { why: "is dedicated to machines of policy default/other" },
      { why: "needs 2Gi memory, 0Mi of 3Gi is free" },
      { why: "needs 2 CPUs, 0 of 8 are free" },
      {
        why: expect.stringMatching(
          /^needs 2 CPUs, 0 of 6 are free: policy "disks" has hosts of its machines give out no more/,
        ),
        policy: "disks",
        rule: "overcommit.cpu: 1.5",
      },
      {
        why: 'policy "disks" requires host.disk.ssd (host.disk.ssd is false)',
        policy: "disks",
        rule: "host.disk.ssd",
      },
      {
        why: 'policy "disks" requires host.cpu.mhz >= 2000 (host.cpu.mhz is 1000)',
        policy: "disks",
        rule: "host.cpu.mhz >= 2000",
      },
      {
        why: 'policy "disks" keeps its machines on different racks, web-2 is there',
        policy: "disks",
        rule: "keepApart: rack",
      },
      {
        why: 'policy "disks" has at most 2 of its machines on one site, 2 are there',
        policy: "disks",
        rule: "atMost per site",
      },
    ],
  });
  expect(named(of, "c").against).toEqual([{ why: "it is in maintenance" }]);
  // The one with the least against it first.
  expect(of.hosts.map(({ name }) => name)).toEqual(["a", "c", "b"]);
});

it("tells what failover is in the way of, also behind other rules", () => {
  const of = explained(
    {
      hosts: [host("a"), host("b"), host("c", { mhz: 1000 })],
      machines: [
        machine("web-1", "a", { memoryBytes: 6 * GiB }),
        machine("web-2", "b", { memoryBytes: 6 * GiB }),
        machine("new", undefined, { memoryBytes: 3 * GiB, labels: { app: "new" } }),
      ],
      policies: [
        policy("web", { failover: { per: "host", losses: 1 } }),
        policy("new", { selector: { matchLabels: { app: "new" } }, required: ["host.cpu.mhz >= 2000"] }),
      ],
    },
    "default/new",
  );
  expect(named(of, "c").against?.map(({ policy: name, rule }) => [name, rule])).toEqual([
    ["new", "host.cpu.mhz >= 2000"],
    ["web", "failover per host"],
  ]);
  expect(of).not.toHaveProperty("about");
  expect(of.policies).toEqual([{ name: "new", goal: "balanced" }]);
});

it("tells of a host that is only worse, or better, by how much and by whose terms; and when that is too little for a move", () => {
  const of = explained({
    hosts: [
      host("a", { mhz: 3000 }),
      host("b", { mhz: 1500, linkMbps: 10_000 }),
      host("c", { mhz: 3100 }),
      host("d", { mhz: 3000 }),
    ],
    machines: [machine("web-1", "a")],
    policies: [FAST, policy("links", { preferred: [{ rule: "host.link.mbps >= 10000", weight: 1 }] })],
  });
  expect(named(of, "a")).not.toHaveProperty("compared");
  expect(named(of, "b").compared).toBe(
    '0.21 more than on a, by policy "links": host.link.mbps >= 10000 +0.50, by policy "fast": speed -0.29',
  );
  expect(named(of, "c").compared).toBe(
    '0.02 more than on a, by policy "fast": speed +0.02; a move has to gain about 0.08',
  );
  expect(named(of, "d").compared).toBe("as good as on a");
  const free = explained({
    hosts: [host("a", { mhz: 3000 }), host("b", { mhz: 1500 })],
    machines: [machine("web-1")],
  });
  expect(free.about).toBe("a");
  expect(named(free, "b").compared).toBe("0.13 less than on a, by no policy: speed -0.13");
});

it("of a large estate tells the best one by one, and of the others how many are ruled out by the same", () => {
  const hosts = [
    ...Array.from({ length: 30 }, (_, i) => host(`good-${i}`)),
    ...Array.from({ length: 20 }, (_, i) => host(`small-${i}`, { memoryBytes: GiB + i })),
    ...Array.from({ length: 10 }, (_, i) => host(`old-${i}`, { ssd: false, memoryBytes: GiB / (i + 1) })),
  ];
  const of = explained(
    {
      hosts,
      machines: [machine("web-1", "old-9")],
      policies: [policy("disks", { required: ["host.disk.ssd"] })],
    },
    "default/web-1",
    2,
  );
  expect(of.hosts.map(({ name }) => name)).toEqual(["good-0", "good-1", "old-9"]);
  expect(of.others).toEqual({
    possible: 28,
    ruledOut: 29,
    alike: [
      { hosts: 20, names: ["small-0", "small-1", "small-10"], against: ["not enough memory"] },
      {
        hosts: 9,
        names: ["old-0", "old-1", "old-2"],
        against: ["not enough memory", 'host.disk.ssd (policy "disks")'],
      },
    ],
  });
});

it("has a bounded number of groups and of rules of a policy", () => {
  const hosts = Array.from({ length: 40 }, (_, i) => host(`h${i}`, { closed: `reason ${i % 20}` }));
  const required = Array.from({ length: 40 }, (_, i) => `host.cpu.mhz >= ${i}`);
  const of = explained(
    {
      hosts: [host("here"), ...hosts],
      machines: [machine("web-1", "here")],
      policies: [policy("many", { required })],
    },
    "default/web-1",
    1,
  );
  expect(of.others?.alike).toHaveLength(8);
  expect(of.others?.ruledOut).toBe(40);
  expect(of.policies[0]?.says?.at(-1)).toBe("30 more");
  expect(of.policies[0]?.says).toHaveLength(12);
});

it("tells no more at most than the host gives out, whatever a policy would let it", () => {
  const { policies } = explained({
    hosts: [host("a", { cpus: 64, memoryBytes: 4 * GiB })],
    machines: [machine("web-1", "a")],
    policies: [policy("much", { overcommit: { cpu: 8, memory: 1.5 } })],
  });
  expect(policies[0]?.says?.slice(-2)).toEqual([
    "overcommit.cpu: 8: kept, 2 CPUs given out, 64 at most",
    "overcommit.memory: 1.5: kept, 2Gi memory given out, 4Gi at most",
  ]);
});
