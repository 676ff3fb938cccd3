/** The director's pure core on the demonstration's estate, and properties that must hold for any estate. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkPolicy } from "./checks.ts";
import type { Estate, HostView, MachineView } from "./estate/estate.ts";
import { apply } from "./estate/moved.ts";
import { GOALS, type Goal, type Policy } from "./kinds.ts";
import { explain } from "./planning/explain.ts";
import { place } from "./planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "./planning/plan.ts";
import { cpuFor, obstacle, usage } from "./rules/rules.ts";

const GiB = 2 ** 30;

function host(
  name: string,
  mhz: number,
  idleWatts: number,
  maxWatts: number,
  more: Partial<HostView> = {},
): HostView {
  return {
    name,
    ready: true,
    site: "",
    rack: name,
    cpus: 2,
    memoryBytes: 4 * GiB,
    mhz,
    cores: 2,
    cpuModel: name,
    idleWatts,
    maxWatts,
    accelerator: "tcg",
    ssd: true,
    linkMbps: 1000,
    ...more,
  };
}

function machine(name: string, tier: string, more: Partial<MachineView> = {}): MachineView {
  return {
    key: `default/${name}`,
    namespace: "default",
    name,
    labels: { tier },
    cpus: 1,
    memoryBytes: GiB / 4,
    movable: true,
    since: 0,
    ...more,
  };
}

function policy(name: string, tier: string, spec: Partial<Policy["spec"]>): Policy {
  return {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name, namespace: "default" },
    spec: {
      selector: { matchLabels: { tier } },
      goals: [{ goal: "balanced", weight: 1 }],
      automation: "act",
      priority: 0,
      ...spec,
    },
  };
}

const HOSTS = [
  host("fast-1", 3800, 120, 400),
  host("frugal-1", 2000, 20, 60),
  host("middle-1", 2800, 60, 180),
];
const SHOP: Estate = {
  hosts: HOSTS,
  machines: [machine("db-1", "db"), machine("web-1", "web"), machine("web-2", "web")],
  policies: [
    policy("db", "db", { goals: [{ goal: "performance", weight: 1 }] }),
    policy("web", "web", { goals: [{ goal: "energy", weight: 1 }], spread: "host" }),
  ],
  odd: [],
};

function placeAll(estate: Estate): Estate {
  return estate.machines.reduce((state, m) => {
    const at = state.machines.find((x) => x.key === m.key);
    const placement = at && !at.host ? place(state, at) : undefined;
    return placement?.host ? apply(state, m.key, placement.host) : state;
  }, estate);
}

const whereOf = (estate: Estate) => Object.fromEntries(estate.machines.map((m) => [m.name, m.host]));
const options = (released: string[] = []) => ({ ...PLAN_DEFAULTS, now: 1e9, released: new Set(released) });

it("a host that lacks what the machine's hardware needs is not chosen, and the package is named", () => {
  const uefi = machine("uefi", "x", { needs: { offers: ["uefi"] } });
  const [first, second] = [host("a", 2000, 0, 0), host("b", 1000, 0, 0, { has: { offers: ["uefi"] } })];
  const estate = { ...SHOP, hosts: [first, second], machines: [uefi] };
  expect(obstacle(estate, uefi, first)).toBe(
    "has no firmware for UEFI guests; apt-get install ovmf there and start its agent anew",
  );
  expect(place(estate, uefi).host).toBe("b");
});

describe("a live move", () => {
  const on = (name: string, accelerator: "kvm" | "tcg", cpuModel: string) =>
    host(name, 2000, 20, 60, { accelerator, cpuModel });
  const why = (from: HostView, to: HostView, more: Partial<MachineView> = { host: from.name }) =>
    obstacle({ hosts: [from, to], machines: [], policies: [], odd: [] }, machine("web", "web", more), to);
  const platform = { accelerator: "kvm", cpuModel: "Xeon" } as const;

  it("is between equal accelerators, under kvm equal CPUs; a machine that does not run goes anywhere", () => {
    expect(why(on("a", "tcg", "Xeon"), on("b", "tcg", "EPYC"))).toBeUndefined();
    expect(why(on("a", "kvm", "Xeon"), on("b", "kvm", "Xeon"))).toBeUndefined();
    expect(why(on("a", "kvm", "Xeon"), on("b", "kvm", "EPYC"))).toContain("its CPU is EPYC");
    expect(why(on("a", "kvm", "Xeon"), on("b", "tcg", "Xeon"))).toContain(
      "under tcg, this one began under kvm",
    );
    expect(why(on("a", "kvm", "Xeon"), on("b", "tcg", "EPYC"), {})).toBeUndefined();
  });

  it("under kvm goes between unlike CPUs when the guest sees one that both can give", () => {
    const to = (...guestCpus: string[]) => ({ ...on("b", "kvm", "EPYC"), has: { guestCpus } });
    const more = { host: "a", platform: { ...platform, guestCpu: "Westmere" } };
    expect(why(on("a", "kvm", "Xeon"), to("Nehalem", "Westmere"), more)).toBeUndefined();
    expect(why(on("a", "kvm", "Xeon"), to("Nehalem"), more)).toContain("cannot give guests the CPU Westmere");
  });

  it("goes by what the run began on, not by what its host is now", () => {
    const more = { host: "a", platform };
    expect(why(on("a", "tcg", "Xeon"), on("b", "tcg", "Xeon"), more)).toContain("began under kvm");
    expect(why(on("a", "tcg", "Xeon"), on("a", "tcg", "Xeon"), more)).toBeUndefined();
  });
});

describe("the CPU of a machine that starts for the first time", () => {
  const on = (name: string, guestCpus: string[], more: Partial<HostView> = {}) =>
    host(name, 2000, 20, 60, { accelerator: "kvm", has: { guestCpus }, ...more });
  const old = on("old", ["Nehalem", "Westmere"]);
  const recent = on("recent", ["EPYC", "Nehalem", "Westmere"]);
  const third = on("third", ["EPYC", "Haswell-noTSX", "Nehalem"], { ssd: false });
  const web = machine("web", "web");
  const cpu = (hosts: HostView[], policies: Policy[] = []) =>
    cpuFor({ hosts, machines: [web], policies, odd: [] }, web, hosts[0] ?? old);

  it("is the best that all hosts have where it may be", () => {
    expect(cpu([recent])).toBe("EPYC");
    expect(cpu([recent, old])).toBe("Westmere");
    expect(cpu([recent, old, third])).toBe("Nehalem");
    const required = ["host.disk.ssd"];
    expect(cpu([recent, old, third], [policy("fast", "web", { required })])).toBe("Westmere");
    expect(cpu([recent, on("tcg", ["qemu64"], { accelerator: "tcg" })])).toBe("EPYC");
  });

  it("is that of its host when they have none in common, or one does not tell", () => {
    expect(cpu([recent, on("odd", ["486"])])).toBeUndefined();
    expect(cpu([recent, host("older agent", 1, 1, 1, { accelerator: "kvm" })])).toBeUndefined();
  });

  it("and its machine type keep it from hosts that cannot give them", () => {
    const pinned = machine("web", "web", {
      needs: { offers: [], machineType: "pc-q35-9.0", guestCpu: "EPYC" },
    });
    const refusal = (has: HostView["has"]) =>
      obstacle({ ...SHOP, machines: [pinned] }, pinned, host("x", 1, 1, 1, has ? { has } : {}));
    expect(refusal({ machineTypes: ["pc-q35-7.2"] })).toContain("no machine type pc-q35-9.0");
    expect(refusal({ machineTypes: ["pc-q35-9.0"], guestCpus: ["Nehalem"] })).toContain("the CPU EPYC");
    expect(refusal({ machineTypes: ["pc-q35-9.0"], guestCpus: ["EPYC"] })).toBeUndefined();
  });
});

describe("placement", () => {
  it("puts the shop where its policies say", () => {
    expect(whereOf(placeAll(SHOP))).toEqual({ "db-1": "fast-1", "web-1": "frugal-1", "web-2": "middle-1" });
  });

  it("says of each host why it cannot run a machine that is too large", () => {
    const large = { ...SHOP, machines: [machine("big", "db", { memoryBytes: 64 * GiB })] };
    expect(place(large, large.machines[0] ?? machine("", "")).reason).toBe(
      "fast-1: needs 64Gi memory, 4Gi of 4Gi is free; frugal-1: needs 64Gi memory, 4Gi of 4Gi is free; middle-1: needs 64Gi memory, 4Gi of 4Gi is free",
    );
  });

  it("says which rule of which policy rules out which host", () => {
    const strict = {
      ...SHOP,
      policies: [
        policy("strict", "db", {
          required: ["host.cpu.mhz >= 5000"],
        }),
      ],
    };
    const { reason } = place(strict, strict.machines[0] ?? machine("", ""));
    expect(reason).toContain('fast-1: policy "strict" requires host.cpu.mhz >= 5000 (host.cpu.mhz is 3800)');
    expect(reason).toContain("frugal-1");
    expect(reason).toMatch(
      /; without host\.cpu\.mhz >= 5000 \(policy "strict"\) it could run on fast-1, frugal-1, … \(3 hosts\)$/,
    );
  });

  it("names the fewest rules that would have to go, and none when it is not for them", () => {
    const only = (name: string, ...values: string[]) =>
      policy(name, "db", { required: [`host.name in ${JSON.stringify(values)}`] });
    const two = {
      ...SHOP,
      policies: [only("one", "fast-1"), only("two", "frugal-1", "fast-1"), only("three", "none")],
    };
    const db = two.machines[0] ?? machine("", "");
    expect(place(two, db).reason).toMatch(
      /; without host\.name in \["none"\] \(policy "three"\) it could run on fast-1$/,
    );
    const apart = { ...two, policies: [...two.policies, only("four", "frugal-1")] };
    expect(place(apart, db).reason).toMatch(
      /; without host\.name in \["frugal-1"\] \(policy "four"\) and host\.name in \["none"\] \(policy "three"\) it could run on fast-1$/,
    );
    // One rule of a policy, not all of it.
    const mixed = [
      policy("mix", "db", { required: ["host.cpu.mhz > 0", "host.cpu.mhz > 9000"], spread: "host" }),
    ];
    expect(place({ ...SHOP, policies: mixed }, db).reason).toMatch(
      /; without host\.cpu\.mhz > 9000 \(policy "mix"\) it could run on fast-1, frugal-1, … \(3 hosts\)$/,
    );
    const full = SHOP.machines.map((one, i) => ({
      ...one,
      labels: { tier: "db" },
      ...(i === 1 ? { host: "fast-1" } : {}),
    }));
    const [newcomer = db] = full;
    const crowded = {
      ...SHOP,
      hosts: HOSTS.slice(0, 1),
      machines: full,
      policies: [policy("far", "db", { keepApart: "rack" })],
    };
    expect(place(crowded, newcomer).reason).toMatch(
      /; without keepApart: rack \(policy "far"\) it could run on fast-1$/,
    );
    const closed = { ...two, hosts: HOSTS.map((h) => ({ ...h, closed: "it is not ready" })) };
    expect(place(closed, db).reason).not.toContain("without");
  });

  it("takes no host that is not ready or is closed", () => {
    const closed = { ...SHOP, hosts: HOSTS.map((h) => ({ ...h, closed: "it is not ready" })) };
    expect(place(closed, closed.machines[0] ?? machine("", "")).host).toBeUndefined();
  });
});

describe("a plan", () => {
  it("moves the web machines when their policy turns to performance, and says why", () => {
    const placed = placeAll(SHOP);
    const changed = {
      ...placed,
      policies: [
        placed.policies[0],
        policy("web", "web", { goals: [{ goal: "performance", weight: 1 }], spread: "host" }),
      ].filter((p) => p !== undefined),
    };
    const moves = planMoves(changed, options(["default/web-1", "default/web-2"]));
    expect(moves).toMatchInlineSnapshot(`
      [
        {
          "expected": "speed: 2000 MHz -> 3800 MHz; room: 50 % free with it -> 0 % free with it",
          "from": "frugal-1",
          "namespace": "default",
          "policy": "web",
          "reason": "policy web (performance): 3800 MHz, 0 % free with it, the best of 2 possible hosts; score 0.52 -> 0.60",
          "to": "fast-1",
          "vm": "web-1",
        },
      ]
    `);
  });

  it("has no useful move when nothing changed", () => {
    expect(planMoves(placeAll(SHOP), options())).toEqual([]);
  });

  it("mends a broken rule first, whatever the stay time", () => {
    const together = {
      ...SHOP,
      machines: SHOP.machines.map((m) => ({
        ...m,
        host: "middle-1",
        cpus: m.name === "db-1" ? 0 : 1,
        since: 1e9 - 1000,
      })),
    };
    const moves = planMoves(together, options());
    expect(moves).toHaveLength(1);
    expect(moves[0]?.reason).toContain("spreads its machines over hosts");
  });
});

it("makes no move of a plan that is carried out hang on one that is only advised", () => {
  const estate: Estate = {
    hosts: [
      host("slow", 1000, 20, 60),
      host("fast", 4000, 100, 400, { cpus: 1 }),
      host("frugal", 500, 5, 10, { cpus: 1 }),
    ],
    machines: [machine("x", "db", { host: "slow" }), machine("y", "web", { host: "fast" })],
    policies: [
      policy("db", "db", { goals: [{ goal: "performance", weight: 1 }] }),
      policy("web", "web", { goals: [{ goal: "energy", weight: 1 }], automation: "advise" }),
    ],
    odd: [],
  };
  const moves = (of: Estate, automation: "act" | "advise") =>
    planMoves(of, { ...options(), automation }).map(({ vm, to }) => `${vm} ${to}`);
  // x has no room on fast before y has left it.
  expect(moves(estate, "act")).toEqual([]);
  expect(moves(estate, "advise")).toEqual(["y frugal"]);
  const acts = {
    ...estate,
    policies: estate.policies.map((p) => ({ ...p, spec: { ...p.spec, automation: "act" as const } })),
  };
  expect(moves(acts, "act")).toEqual(["y frugal", "x fast"]);
  expect(moves(acts, "advise")).toEqual([]);
});

it("leaves a machine that could not be moved where it is, the longer the more often that was", () => {
  const now = 1e9;
  const moves = (times: number, agoMs: number) => {
    const failed = { times, at: now - agoMs, why: "played" };
    const web = machine("web", "web", { host: "frugal-1", failed });
    const required = ["host.cpu.mhz >= 3000"];
    const policies = [policy("web", "web", { required })];
    return planMoves({ ...SHOP, machines: [web], policies }, { ...options(), now }).length;
  };
  expect([moves(1, 59_000), moves(1, 60_000)]).toEqual([0, 1]);
  expect([moves(3, 239_000), moves(3, 240_000)]).toEqual([0, 1]);
  expect([moves(99, 899_000), moves(99, 900_000)]).toEqual([0, 1]);
});

describe("at most so many in one place", () => {
  const hosts = ["a", "b", "c"].map((name) =>
    host(name, 2000, 20, 60, { cpus: 8, rack: name === "a" ? "r1" : "r2" }),
  );
  const estate = (atMost: Policy["spec"]["atMost"], ...on: (string | undefined)[]): Estate => ({
    hosts,
    machines: on.map((at, i) => machine(`web-${i}`, "web", at ? { host: at } : {})),
    policies: [
      policy("web", "web", { goals: [{ goal: "energy", weight: 1 }], ...(atMost ? { atMost } : {}) }),
    ],
    odd: [],
  });

  it("is kept by placement, and its words tell the limit", () => {
    const racks = estate({ per: "rack", machines: 2 }, "b", "c", undefined);
    expect(place(racks, racks.machines[2] ?? machine("", "")).host).toBe("a");
    expect(obstacle(racks, racks.machines[2] ?? machine("", ""), hosts[1] ?? host("", 1, 1, 1))).toBe(
      'policy "web" has at most 2 of its machines on one rack, 2 are there',
    );
    const share = estate({ per: "host", percent: 50 }, "a", "a", undefined, undefined);
    expect(obstacle(share, share.machines[2] ?? machine("", ""), hosts[0] ?? host("", 1, 1, 1))).toBe(
      'policy "web" has at most 2 (50 % of 4) of its machines on one host, 2 are there',
    );
  });

  it("is, as a share, of those that are to run; one that is off is asked of as if it were", () => {
    const all = estate({ per: "host", percent: 50 }, "a", undefined, undefined, undefined);
    const off = { ...all, machines: all.machines.map((each, i) => (i < 2 ? each : { ...each, off: true })) };
    const [on, last] = [off.machines[1], off.machines[3]];
    expect(on && obstacle(off, on, hosts[0] ?? host("", 1, 1, 1))).toBe(
      'policy "web" has at most 1 (50 % of the 2 that are to run) of its machines on one host, 1 are there',
    );
    expect(last && explain(off, last.key)?.hosts.map(({ name, ruledOut }) => [name, ruledOut])).toEqual(
      expect.arrayContaining([["a", false]]),
    );
  });

  it("is mended by a plan, with no more moves than it takes", () => {
    const moves = planMoves(estate({ per: "host", percent: 50 }, "a", "a", "a", "b"), options());
    expect(moves).toHaveLength(1);
    expect(moves[0]?.reason).toBe(
      'on a policy "web" has at most 2 (50 % of 4) of its machines on one host, 2 are there',
    );
  });
});

it("a host in maintenance is left at once, if need be to where the machine came from; by a policy's rules", () => {
  const [from, back] = [
    host("a", 2000, 20, 60, { maintenance: true, closed: "it is in maintenance" }),
    host("b", 2000, 20, 60),
  ];
  const web = machine("web", "web", { host: "a", since: 1e9 - 1, left: [{ host: "b", at: 1e9 - 1 }] });
  const estate = { hosts: [from, back], machines: [web], policies: [], odd: [] };
  expect(planMoves(estate, options())).toMatchObject([
    { vm: "web", from: "a", to: "b", reason: "a is in maintenance" },
  ]);
  const required = ['host.name != "b"'];
  expect(planMoves({ ...estate, policies: [policy("web", "web", { required })] }, options())).toEqual([]);
});

it("a cordoned host keeps its machines, but for those that break a rule there", () => {
  const slow = host("slow", 1000, 20, 60, { cordoned: true, closed: "it is marked unschedulable" });
  const moves = (cordoned: HostView, policies: Policy[]) => {
    const hosts = [cordoned, host("fast", 4000, 20, 60)];
    const machines = [machine("db-1", "db", { host: "slow" })];
    return planMoves({ hosts, machines, policies, odd: [] }, options()).map(({ reason }) => reason);
  };
  const fast = policy("db", "db", { goals: [{ goal: "performance", weight: 1 }] });
  expect(moves(host("slow", 1000, 20, 60), [fast])).toHaveLength(1);
  expect(moves(slow, [fast])).toEqual([]);
  const required = ["host.cpu.mhz >= 3000"];
  expect(moves(slow, [policy("db", "db", { required })])).toEqual([
    'on slow policy "db" requires host.cpu.mhz >= 3000 (host.cpu.mhz is 1000)',
  ]);
});

describe("a host with few machines", () => {
  const wide = (name: string, idle: number) =>
    host(name, 3000, idle, idle * 3, { cpus: 8, memoryBytes: 16 * GiB });
  const small = (name: string, on: string, tier = "web") => machine(name, tier, { host: on });
  const estate = (tier: string): Estate => ({
    hosts: [wide("a", 100), wide("b", 100), host("c", 3000, 100, 300)],
    machines: [
      small("web-1", "a", tier),
      small("web-2", "a", tier),
      ...["1", "2", "3"].map((n) => ({ ...small(`own-${n}`, "b"), movable: false })),
    ],
    policies: [
      policy("web", "web", { goals: [{ goal: "energy", weight: 1 }] }),
      policy("fast", "fast", { goals: [{ goal: "performance", weight: 1 }] }),
    ],
    odd: [],
  });

  it("is emptied when the moves together save enough, which none does by itself", () => {
    const moves = planMoves(estate("web"), options());
    expect(moves.map(({ vm, from, to }) => [vm, from, to])).toEqual([
      ["web-1", "a", "b"],
      ["web-2", "a", "b"],
    ]);
    expect(moves[0]?.reason).toBe("policy web (energy): 2 moves leave a empty, 100 W less");
  });

  it("is not when it is cordoned, its machines want speed, or one of them has to stay", () => {
    const { hosts, ...rest } = estate("web");
    const cordoned = hosts.map((h) =>
      h.name === "a" ? { ...h, cordoned: true, closed: "it is marked unschedulable" } : h,
    );
    expect(planMoves({ ...rest, hosts: cordoned }, options())).toEqual([]);
    expect(planMoves(estate("fast"), options()).filter(({ to }) => to === "b")).toEqual([]);
    const { machines, ...of } = estate("web");
    const stuck = machines.map((m) => (m.name === "web-2" ? { ...m, movable: false } : m));
    expect(planMoves({ ...of, machines: stuck }, options())).toEqual([]);
  });
});

describe("an explanation", () => {
  it("says what the machine uses, what is expected of it, and by what", () => {
    const used = (use?: MachineView["use"]) =>
      explain(
        { ...SHOP, machines: [machine("web-1", "web", { host: "fast-1", ...(use ? { use } : {}) })] },
        "default/web-1",
      )?.use;
    expect(used()).toBe("not measured for five minutes yet; it is taken to be a quarter of its 1 CPUs");
    const use = { cpus: 0.3, expected: 0.45, deviation: 0.11 };
    expect(used(use)).toBe("0.30 of its 1 CPUs; expected 0.45, give or take 0.11, as in the last while");
    const demand = { iops: 120.4, diskBytes: 3 * 2 ** 20, networkBytes: 2 ** 19, memoryBytes: 200 * 2 ** 20 };
    expect(used({ ...use, demand })).toContain(
      "while; besides 200.0 MiB of its host's memory, of its disks 120 requests and 3.0 MiB a second, of the network 0.5 MiB a second",
    );
    expect(used({ ...use, usualAt: Date.UTC(2026, 0, 1, 9) })).toContain(
      "usual in the hour of the week from 2026-01-01T09:00:00.000Z",
    );
    expect(explain({ ...SHOP, machines: [machine("web-1", "web")] }, "default/web-1")).not.toHaveProperty(
      "use",
    );
  });

  it("has a verdict for every host", () => {
    const explanation = explain(placeAll(SHOP), "default/web-1");
    expect(explanation?.hosts.map((h) => h.name).sort()).toEqual(["fast-1", "frugal-1", "middle-1"]);
    expect(explanation).toMatchInlineSnapshot(`
      {
        "about": "frugal-1",
        "host": "frugal-1",
        "hosts": [
          {
            "chosen": true,
            "name": "frugal-1",
            "ruledOut": false,
            "verdict": "score 0.70 (room 0.50 × 0.05: 50 % free with it; watts 0.71 × 0.95: 40 W more)",
          },
          {
            "chosen": false,
            "compared": "0.70 less than on frugal-1, by policy "web": watts -0.68, room -0.03",
            "name": "fast-1",
            "ruledOut": false,
            "verdict": "score 0.00 (room 0.00 × 0.05: 0 % free with it; watts 0.00 × 0.95: 140 W more)",
          },
          {
            "against": [
              {
                "policy": "web",
                "rule": "spread: host",
                "why": "policy "web" spreads its machines over hosts: 1 of them here, 0 elsewhere",
              },
            ],
            "chosen": false,
            "name": "middle-1",
            "ruledOut": true,
            "verdict": "ruled out: policy "web" spreads its machines over hosts: 1 of them here, 0 elsewhere",
          },
        ],
        "machine": "default/web-1",
        "policies": [
          {
            "goal": "energy",
            "name": "web",
            "says": [
              "goals: room 0.50 × 0.05 = 0.03 (50 % free with it), watts 0.71 × 0.95 = 0.68 (40 W more)",
              "spread: host: kept, no other there, 0 where the fewest are",
            ],
            "score": 0.7035714285714286,
          },
        ],
        "use": "not measured for five minutes yet; it is taken to be a quarter of its 1 CPUs",
      }
    `);
  });
});

describe("for any estate", () => {
  const anyHost = (i: number) =>
    fc
      .record({
        mhz: fc.integer({ min: 1000, max: 5000 }),
        cpus: fc.integer({ min: 1, max: 8 }),
        gib: fc.integer({ min: 1, max: 16 }),
        idle: fc.integer({ min: 5, max: 200 }),
        rack: fc.constantFrom("r1", "r2"),
      })
      .map(({ mhz, cpus, gib, idle, rack }) =>
        host(`h${i}`, mhz, idle, idle * 3, { cpus, memoryBytes: gib * GiB, rack }),
      );
  const anyMachine = (i: number) =>
    fc
      .record({
        tier: fc.constantFrom("db", "web"),
        cpus: fc.integer({ min: 1, max: 3 }),
        gib: fc.integer({ min: 1, max: 4 }),
      })
      .map(({ tier, cpus, gib }) => machine(`m${i}`, tier, { cpus, memoryBytes: gib * GiB }));
  const goal = fc.constantFrom(...GOALS);
  const group = fc.constantFrom(
    {},
    { spread: "host" },
    { keepApart: "host" },
    { spread: "rack" },
  ) as fc.Arbitrary<Partial<Policy["spec"]>>;
  const anyEstate = fc
    .tuple(
      fc.tuple(...[0, 1, 2, 3].map(anyHost)),
      fc.tuple(...[0, 1, 2, 3, 4, 5].map(anyMachine)),
      goal,
      goal,
      group,
      group,
    )
    .map(
      ([hosts, machines, g1, g2, x1, x2]): Estate => ({
        hosts,
        machines,
        odd: [],
        policies: [
          policy("db", "db", { goals: [{ goal: g1 as Goal, weight: 1 }], ...x1 }),
          policy("web", "web", { goals: [{ goal: g2 as Goal, weight: 1 }], ...x2 }),
        ],
      }),
    );

  it("capacity is never exceeded, neither by placement nor between two steps of a plan", () => {
    fc.assert(
      fc.property(anyEstate, (estate) => {
        let state = placeAll(estate);
        const fits = (e: Estate) =>
          e.hosts.every(
            (h) => usage(e, h.name).cpus <= h.cpus && usage(e, h.name).memoryBytes <= h.memoryBytes,
          );
        if (!fits(state)) return false;
        for (const move of planMoves(state, options(state.machines.map((m) => m.key)))) {
          const mover = state.machines.find((m) => m.name === move.vm);
          const to = state.hosts.find((h) => h.name === move.to);
          if (!mover || !to || obstacle(state, mover, to)) return false;
          state = apply(state, mover.key, move.to);
          if (!fits(state)) return false;
        }
        return true;
      }),
      { numRuns: 200, seed: 20261123 },
    );
  });

  it("plans end: after a few rounds on an unchanged estate there is no useful move, and machines did not come back", () => {
    fc.assert(
      fc.property(anyEstate, (estate) => {
        let state = placeAll(estate);
        for (let round = 0; round < 12; round++) {
          const moves = planMoves(state, options(state.machines.map((m) => m.key)));
          if (moves.length === 0) return true;
          for (const move of moves) state = apply(state, `default/${move.vm}`, move.to);
        }
        return false;
      }),
      { numRuns: 200, seed: 20261123 },
    );
  });
});

describe("the rules of a policy", () => {
  const check = (spec: Partial<Policy["spec"]>) =>
    checkPolicy(policy("p", "db", spec), undefined).map((c) => `${c.field}: ${c.message}`);
  it("point at the field that is wrong, and name two rules that contradict each other", () => {
    expect(check({ required: ["host.disk.ssd", "host.cpu.mhz >= fast"] })).toEqual([
      'spec.required[1]: Invalid value: column 17: there is no "fast"; did you mean "host"? (rules speak of host and machine, texts are in quotes)\n  host.cpu.mhz >= fast\n                  ^',
    ]);
    expect(check({ preferred: [{ rule: "host.cpu.mhz", weight: 1 }] })[0]).toMatch(
      /^spec.preferred\[0\].rule: .*a rule is true or false, this is int/,
    );
    expect(check({ keepTogether: "host", atMost: { per: "rack", percent: 50 } })[0]).toMatch(
      /^spec.atMost: .*can never hold together with spec.keepTogether, which puts all on one host/,
    );
    expect(check({ keepTogether: "rack", atMost: { per: "host", machines: 1 } })).toEqual([]);
    expect(
      check({
        required: ['host.memory.bytes >= quantity("64Gi")', 'host.memory.bytes <= quantity("32Gi")'],
      })[0],
    ).toMatch(
      /spec.required\[1\]: .*can never hold together with spec.required\[0\], host.memory.bytes >= quantity\("64Gi"\)/,
    );
  });
});
