/** Carried on by what was stored since, it says what one made anew says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Host } from "../../compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { declaredFacts } from "../../compute/testing/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { KeptMachines } from "../estate/kept-machines.ts";
import type { Policy } from "../kinds.ts";
import { failoverObstacle, survivalOf } from "./failover.ts";
import { KeptEstate, type Stored } from "./kept-estate.ts";

/** So many that most losses of two are not looked at one by one. */
const HOSTS = ["a", "b", "c", "d", "e", "f", "g", "h", "i"] as const;
const host = (name: string, rack: string): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: "Host",
  metadata: { name },
  spec: { rack },
  status: {
    facts: declaredFacts(name),
    capacity: { cpus: 8, memory: "1Gi" },
    conditions: [{ type: "Ready", status: "True", reason: "Test", message: "", lastTransitionTime: "" }],
  },
});
const policy = (name: string, spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default", generation: 1 },
  spec: { selector: { matchLabels: { app: name } }, automation: "act", priority: 0, ...spec },
});
const vm = (n: number, app: string, latencySensitivity?: "high", running = true): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name: `m${n}`, namespace: "default", uid: `m${n}`, labels: { app } },
  spec: {
    ...{ image: "x", memory: "64Mi", cpus: 1, running, networks: [], storagePool: "default" },
    ...(latencySensitivity ? { latencySensitivity } : {}),
  } as never,
});
const run = (
  n: number,
  of: { memory: number; on?: string; incoming?: boolean; held?: boolean },
): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: {
    name: `m${n}-${of.incoming ? 2 : 1}`,
    namespace: "default",
    uid: `r${n}-${of.incoming ? 2 : 1}`,
  },
  spec: {
    vm: `m${n}`,
    vmUid: `m${n}`,
    cpus: 1,
    memory: `${of.memory}Mi`,
    running: true,
    ...(of.on ? { host: of.on } : {}),
    ...(of.incoming ? { incoming: true } : {}),
  } as never,
  status: { custody: of.held ? "Held" : "None" } as never,
});

/** What one of the machines does next. */
const anyStep = (hosts: readonly string[]) =>
  fc.record({
    n: fc.nat({ max: 6 }),
    memory: fc.constantFrom(128, 300, 500),
    on: fc.constantFrom(undefined, ...hosts),
    to: fc.constantFrom(undefined, undefined, ...hosts),
    app: fc.constantFrom("web", "db", "none"),
    there: fc.constantFrom("no", "yes", "yes", "yes", "run only", "off"),
  });

it.each([
  [1, 4],
  [2, 9],
])("carried on by any changes, it knows what it would know anew: any %d of %d hosts", (losses, count) => {
  const hosts = HOSTS.slice(0, count).map((name, i) => host(name, `r${i >> 1}`));
  const policies = [
    policy("web", { keepApart: "host", overcommit: { memory: 0.8 }, failover: { per: "host", losses } }),
    policy("db", {
      atMost: { per: "rack", percent: 60 },
      spread: "host",
      failover: { per: "rack", losses: 1 },
    }),
  ];
  let carried = 0;
  fc.assert(
    fc.property(fc.array(anyStep(HOSTS.slice(0, count)), { maxLength: 12 }), (steps) => {
      const now = new Map<number, { vm?: VirtualMachine; runs: Instance[] }>();
      const stored = (machines = new KeptMachines()): Stored => {
        const all = [...now].sort(([a], [b]) => a - b).map(([, each]) => each);
        machines.update(
          all.flatMap((each) => each.vm ?? []),
          all.flatMap(({ runs }) => runs),
        );
        return { hosts, pools: [], policies, machines };
      };
      const machines = new KeptMachines();
      const kept = new KeptEstate(stored(machines));
      const first = kept.estate;
      for (const { n, memory, on, to, app, there } of steps) {
        const runs = [
          run(n, { memory, ...(on ? { on } : {}), held: on !== undefined }),
          ...(on && to && to !== on ? [run(n, { memory, on: to, incoming: true })] : []),
        ];
        if (there === "no") now.delete(n);
        else if (there === "off") now.set(n, { vm: vm(n, app, undefined, false), runs: [] });
        else now.set(n, { ...(there === "yes" ? { vm: vm(n, app) } : {}), runs });
        kept.update(stored(machines));
        if (kept.estate === first) carried++;
        const anew = new KeptEstate(stored()).estate;
        const [a, b] = [kept.estate, anew].map((estate) => ({
          estate,
          index: indexOf(estate),
          survival: survivalOf(estate),
        }));
        if (!a || !b) throw new Error("two");
        const told = ({ survival }: typeof a) => (survival?.faults() ?? []).map(({ loss }) => loss).sort();
        expect(told(a)).toEqual(told(b));
        const limits = ({ index }: typeof a) => [...index.state.model.tallies.most];
        expect(limits(a)).toEqual(limits(b));
        for (const name of HOSTS.slice(0, count)) expect(a.index.use(name)).toEqual(b.index.use(name));
        for (const i of now.keys())
          for (const view of hosts) {
            const [own, other] = [a, b].map(({ estate, index }) => {
              const machine = index.get(`default/m${i}`);
              const there = index.hosts.get(view.metadata.name);
              return machine && there && Boolean(failoverObstacle(estate, machine, there));
            });
            expect(own).toEqual(other);
          }
      }
    }),
    { numRuns: 60 },
  );
  expect(carried).toBeGreaterThan(50);
});

it("proves losses by how sensitive a machine is to latency now", () => {
  const web = policy("web", {
    required: ['machine.latencySensitivity != "high" || host.name == "a"'],
    failover: { per: "host", losses: 1 },
  });
  const machines = new KeptMachines();
  const stored = (latencySensitivity?: "high"): Stored => {
    machines.update([vm(0, "web", latencySensitivity)], [run(0, { memory: 128, on: "a", held: true })]);
    return { hosts: [host("a", "r0"), host("b", "r1")], pools: [], policies: [web], machines };
  };
  const kept = new KeptEstate(stored());
  const lost = (now: Stored) =>
    survivalOf(kept.update(now))
      ?.faults()
      .map(({ loss }) => loss);
  expect(lost(stored())).toEqual([]);
  expect(lost(stored("high"))).toEqual(["host a"]);
  expect(lost(stored())).toEqual([]);
});

describe("what was given up, or is looked at one by one by now", () => {
  /** On hosts with room for one machine each, of which some are empty. */
  const world = (hosts: number) => {
    const machines = new KeptMachines();
    const all = Array.from({ length: hosts }, (_, i) => host(`h${i}`, `r${i}`));
    const web = policy("web", { failover: { per: "host", losses: 3 } });
    return (count: number, memory = 900): Stored => {
      const each = Array.from({ length: count }, (_, n) => n);
      machines.update(
        each.map((n) => vm(n, "web")),
        each.map((n) => run(n, { memory, on: `h${n}`, held: true })),
      );
      return { hosts: all, pools: [], policies: [web], machines };
    };
  };
  const tooMany = (estate: KeptEstate["estate"]) => {
    const survival = survivalOf(estate);
    survival?.sync();
    return survival?.losses.tooMany.size;
  };

  it("is looked at anew once as much has changed", () => {
    const stored = world(17);
    const kept = new KeptEstate(stored(14));
    const first = kept.estate;
    expect(tooMany(first)).toBe(0);
    // There is room for two only, and any three of 15 are lost with what they have.
    expect(tooMany(kept.update(stored(15)))).toBe(1);
    expect(kept.estate).toBe(first);
    // There is room again. Each of the others changes, too.
    expect(tooMany(kept.update(stored(14)))).toBe(1);
    const second = kept.update(stored(14, 901));
    expect(second).toBe(first);
    tooMany(second);
    const third = kept.update(stored(14, 901));
    expect(third).not.toBe(first);
    expect(tooMany(third)).toBe(0);
    expect(survivalOf(third)?.faults()).toEqual([]);
  });

  it("is looked at anew also where it was so at first", () => {
    const stored = world(17);
    const kept = new KeptEstate(stored(15));
    const first = kept.estate;
    expect(tooMany(first)).toBe(1);
    // Nothing has changed: it would be the same.
    expect(kept.update(stored(15))).toBe(first);
    expect(tooMany(kept.update(stored(14, 901)))).toBe(1);
    expect(tooMany(kept.update(stored(14, 901)))).toBe(0);
  });

  it("is forgotten where it has become much, and follows from less", () => {
    const stored = world(17);
    const kept = new KeptEstate(stored(14));
    const first = kept.estate;
    const survival = survivalOf(first);
    const [group] = survival?.losses.groups ?? [];
    if (!survival || !group) throw new Error("there is a group");
    kept.update(stored(14, 901));
    survival.sync();
    for (let i = 0; i < 1000; i++) group.sets.set(`some ${i}`, 0);
    expect(kept.update(stored(14, 901))).toBe(first);
    for (let i = 0; i < 2000; i++) group.sets.set(`more ${i}`, 0);
    expect(kept.update(stored(14, 901))).not.toBe(first);
  });
});
