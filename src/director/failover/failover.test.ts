/** Reserved failover capacity: proven by packing, against trying everything; carried on with moves as if proven anew; kept by placement and plans. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { hindrance } from "../execution/recheck.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { obstacle } from "../rules/rules.ts";
import { estateOf, faultsOf, findsRoom, GiB, host, machine, policy } from "../testing/surviving.ts";
import { survivalOf } from "./failover.ts";

const [A, B, C, D] = ["a", "b", "c", "d"].map((name) => host(name));
const ABCD = [A, B, C, D] as HostView[];

describe("failover capacity", () => {
  it("is proven by packing, not by sums", () => {
    // Of each loss 3 GiB are to be placed, and on the others 3 GiB are free together; but one each.
    const estate = estateOf(
      ABCD,
      ABCD.map(({ name }) => machine(`on-${name}`, 3, name)),
      policy({}),
    );
    expect(faultsOf(estate)).toEqual(
      ["a", "b", "c", "d"].map(
        (name) => `the loss of host ${name} is not survived: on-${name} finds no room elsewhere`,
      ),
    );
    const roomy = estateOf([...ABCD, host("e")], estate.machines, policy({}));
    expect(faultsOf(roomy)).toEqual([]);
    // Of any two, the empty one has room for one.
    const two = estateOf(roomy.hosts, estate.machines, policy({ failover: { per: "host", losses: 2 } }));
    expect(faultsOf(two)).toHaveLength(6);
    expect(faultsOf(two)[0]).toMatch(/^the loss of hosts a and b is not survived: on-. finds no room/);
  });

  it("goes back where the largest first leads nowhere", () => {
    // 3+3 | 2+2+2: by decreasing size to the roomiest, 3 takes the host of 6 and the other 3 too, and 2+2+2 fit on the other.
    const hosts = [
      host("lost", { memoryBytes: 16 * GiB }),
      host("p", { memoryBytes: 6 * GiB }),
      host("q", { memoryBytes: 6 * GiB }),
    ];
    const sizes = [3, 3, 2, 2, 2];
    const estate = estateOf(
      hosts,
      sizes.map((gib, i) => machine(`m${i}`, gib, "lost")),
      policy({}),
    );
    expect(faultsOf(estate)).toEqual([]);
    const full = estateOf(
      hosts,
      [...sizes, 1].map((gib, i) => machine(`m${i}`, gib, "lost")),
      policy({}),
    );
    expect(faultsOf(full)).toEqual([expect.stringMatching(/^the loss of host lost is not survived/)]);
  });

  it("keeps the required rules of what is placed, and counts disks that are lost with their host", () => {
    const apart = estateOf(
      ABCD.slice(0, 2),
      [machine("x", 1, "a"), machine("y", 1, "b")],
      policy({ keepApart: "host" }),
    );
    expect(faultsOf(apart)).toHaveLength(2);
    expect(faultsOf({ ...apart, hosts: ABCD.slice(0, 3) })).toEqual([]);
    const local = estateOf(ABCD, [machine("x", 1, "a", { localDisks: true })], policy({}));
    expect(faultsOf(local)).toEqual([
      "the loss of host a is not survived: of x, its disks are in a storage pool that is not shared",
    ]);
    // Spread over racks, of which one is gone by then.
    const racks = ["1", "1", "2", "2"].map((rack, i) => host(`h${i}`, { rack }));
    const spread = estateOf(
      racks,
      [machine("x", 1, "h0"), machine("y", 1, "h2")],
      policy({ spread: "rack", failover: { per: "rack", losses: 1 } }),
    );
    expect(faultsOf(spread)).toEqual([]);
  });

  it("machines of several policies compete for what is left; what nobody asked to survive does not", () => {
    const hosts = [host("a"), host("b"), host("c", { memoryBytes: 2 * GiB })];
    const machines = [
      machine("x", 2, "a"),
      machine("y", 2, "a", { labels: { app: "db" } }),
      machine("z", 3, "b"),
    ];
    const web = policy({});
    const db = policy({ selector: { matchLabels: { app: "db" } } }, "db");
    const only = estateOf(hosts, machines.slice(0, 2), web);
    expect(faultsOf(only)).toEqual([]);
    const both = estateOf(hosts, machines, web, db);
    expect(faultsOf(both).concat(faultsOf(both, 1))).toContainEqual(
      expect.stringMatching(/^the loss of host a is not survived/),
    );
  });

  it("no machine is placed, moved or let in where it takes what a loss needs", () => {
    const hosts = [host("a"), host("b"), host("c", { mhz: 4000 })];
    const other = { labels: { app: "other" } };
    const machines = [machine("x", 3, "a"), machine("y", 3, "b"), machine("new", 2, undefined, other)];
    const estate = estateOf(hosts, machines, policy({}));
    expect(faultsOf(estate)).toEqual([]);
    const placed = place(estate, estate.machines[2] as MachineView);
    expect(placed.host).toBeUndefined();
    expect(placed.reason).toContain(
      'c: policy "web" wants to survive it: the loss of host a would not be survived: x finds no room elsewhere',
    );
    // A small one leaves room enough.
    const small = estateOf(hosts, [...machines.slice(0, 2), machine("new", 1, undefined, other)], policy({}));
    expect(place(small, small.machines[2] as MachineView).host).toBe("c");
    const moving = estateOf(
      hosts,
      [...machines.slice(0, 2), machine("fan", 0.5, "a", other)],
      policy({}),
      policy(
        {
          selector: { matchLabels: { app: "other" } },
          goals: [{ goal: "performance", weight: 1 }],
          failover: undefined as never,
        },
        "fan",
      ),
    );
    const options = { ...PLAN_DEFAULTS, now: 1e12, released: new Set<string>() };
    expect(planMoves(moving, options).map(({ vm, to }) => [vm, to])).toContainEqual(["fan", "c"]);
    const large = {
      ...moving,
      machines: [...machines.slice(0, 2), machine("fan", 1, "a", other)],
      hosts: [A as HostView, B as HostView, host("c", { mhz: 4000, memoryBytes: 3 * GiB })],
    };
    expect(planMoves(large, options).filter(({ vm }) => vm === "fan")).toEqual([]);
    expect(
      hindrance(large, { namespace: "default", vm: "fan", from: "a", to: "c", reason: "", expected: "" })
        ?.why,
    ).toMatch(/wants to survive it/);
  });

  const anyEstate = fc.record({
    room: fc.array(fc.integer({ min: 2, max: 8 }), { minLength: 2, maxLength: 4 }),
    machines: fc.array(
      fc.record({
        gib: fc.integer({ min: 1, max: 4 }),
        at: fc.nat(),
        app: fc.constantFrom("web", "db", "none"),
      }),
      { maxLength: 7 },
    ),
    apart: fc.boolean(),
    losses: fc.integer({ min: 1, max: 2 }),
    share: fc.constantFrom(undefined, 0.6, 0.8),
  });
  type Drawn = typeof anyEstate extends fc.Arbitrary<infer T> ? T : never;
  const drawn = ({ room, machines, apart, losses, share }: Drawn): Estate => {
    const hosts = room.map((gib, i) => host(`h${i}`, { memoryBytes: gib * GiB }));
    const estate = estateOf(
      hosts,
      [],
      policy({
        failover: { per: "host", losses },
        ...(apart ? { keepApart: "host" } : {}),
        ...(share ? { overcommit: { memory: share } } : {}),
      }),
      policy({ selector: { matchLabels: { app: "db" } } }, "db"),
    );
    for (const [i, { gib, at, app }] of machines.entries()) {
      const own = machine(`m${i}`, gib, undefined, { labels: { app } });
      const to = hosts[at % hosts.length] as HostView;
      // Only what the rules allow.
      if (obstacle({ ...estate, machines: [...estate.machines, own] }, own, to)) continue;
      estate.machines.push({ ...own, host: to.name });
    }
    return estate;
  };
  const survives = (estate: Estate, lost: ReadonlySet<string>): boolean =>
    findsRoom(
      estate,
      lost,
      ({ labels }) => labels.app !== "none" && (lost.size === 1 || labels.app === "web"),
    );

  it("a host whose machines had it give out less has all of it again when they have left", () => {
    const estate = estateOf(
      [7, 4, 2].map((gib, i) => host(`h${i}`, { memoryBytes: gib * GiB })),
      [
        machine("m0", 3, "h0", { labels: { app: "db" } }),
        machine("m1", 1, "h0"),
        machine("m2", 4, "h1", { labels: { app: "db" } }),
      ],
      policy({ overcommit: { memory: 0.6 } }),
      policy({ selector: { matchLabels: { app: "db" } } }, "db"),
    );
    const told = () =>
      survivalOf(estate)
        ?.faults()
        .map(({ loss }) => loss);
    expect(told()).toEqual(["host h0", "host h1"]);
    // To the last byte: m2 just fits on h0 then.
    estate.machines[1] = indexOf(estate).move("default/m1", "h2") as MachineView;
    expect(told()).toEqual(["host h0"]);
  });

  it("says what trying everything says", () => {
    fc.assert(
      fc.property(anyEstate, (of) => {
        const estate = drawn(of);
        const losses = estate.hosts.flatMap(({ name }, i) => [
          new Set([name]),
          ...(of.losses === 2 ? estate.hosts.slice(i + 1).map((other) => new Set([name, other.name])) : []),
        ]);
        const broken = losses.filter((lost) => !survives(estate, lost));
        const faults = survivalOf({ ...estate })?.faults() ?? [];
        expect(faults.every(({ sure }) => sure)).toBe(true);
        const words = new Set(faults.map(({ loss }) => loss));
        for (const lost of broken.filter(({ size }) => size === (of.losses === 2 ? 2 : 1)))
          expect([...words]).toContain(
            lost.size === 1 ? `host ${[...lost][0]}` : `hosts ${[...lost].join(" and ")}`,
          );
        expect(faults.length === 0).toBe(
          broken.length === 0 ||
            (of.losses === 2 && broken.every(({ size }) => size === 1) && faults.length === 0),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("carried on with moves, knows what it would know anew", () => {
    fc.assert(
      fc.property(anyEstate, fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 6 }), (of, moves) => {
        const estate = drawn({ ...of, losses: 1 });
        const index = indexOf(estate);
        survivalOf(estate);
        for (const [m, h] of moves) {
          const one = index.machines[m % Math.max(1, index.machines.length)];
          const to = estate.hosts[h % estate.hosts.length] as HostView;
          if (!one || one.host === to.name || obstacle(estate, one, to)) continue;
          const before = survivalOf(estate)?.faults().length ?? 0;
          survivalOf(estate)?.ifMoved(index.position.get(one.key) ?? -1, to.name);
          expect(survivalOf(estate)?.faults().length).toBe(before);
          const moved = index.move(one.key, to.name);
          if (moved) estate.machines[index.position.get(one.key) ?? -1] = moved;
          const told = (of: Estate) => (survivalOf(of)?.faults() ?? []).map(({ loss }) => loss).sort();
          expect(told(estate)).toEqual(told({ ...estate, machines: [...estate.machines] }));
        }
      }),
      { numRuns: 200 },
    );
  });
});
