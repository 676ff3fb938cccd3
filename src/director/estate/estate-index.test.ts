/** The flat model that planning looks at says what the rules in words say, for any estate. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { DOMAINS, type Policy } from "../kinds.ts";
import { judge } from "../planning/judge.ts";
import { choose } from "../planning/place.ts";
import { score } from "../planning/score.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { indexOf } from "./estate-index.ts";
import { apply } from "./moved.ts";

const GiB = 2 ** 30;
const HOSTS = 6;
const MACHINES = 9;

/** Curves of watts from 0, at idle, to 1. */
const STEEP = [0, 0.4, 0.7, 0.8, 0.85, 0.87, 0.9, 0.92, 0.95, 0.97, 1];
const FLAT = [0, 0.02, 0.05, 0.07, 0.1, 0.12, 0.15, 0.2, 0.3, 0.6, 1];

const anyHost = (i: number): fc.Arbitrary<HostView> =>
  fc
    .record({
      mhz: fc.constantFrom(2000, 3000),
      cpus: fc.constantFrom(4, 8),
      gib: fc.constantFrom(8, 16),
      idle: fc.constantFrom(undefined, 30, 90),
      curve: fc.constantFrom(undefined, STEEP, FLAT),
      rack: fc.constantFrom("r1", "r2", "r3"),
      site: fc.constantFrom("n", "s"),
      closed: fc.constantFrom(undefined, undefined, undefined, "it is not ready"),
      kvm: fc.boolean(),
      ssd: fc.boolean(),
      uefi: fc.boolean(),
      sockets: fc.constantFrom(1, 2),
      row: fc.constantFrom(undefined, "w1", "w2"),
      feed: fc.constantFrom(undefined, "f1", "f2"),
      dedicatedTo: fc.constantFrom(undefined, undefined, undefined, "default/db"),
    })
    .map(({ gib, idle, curve, kvm, closed, uefi, row, feed, dedicatedTo, ...of }) => ({
      ...of,
      ...(row ? { row } : {}),
      ...(feed ? { feed } : {}),
      ...(dedicatedTo ? { dedicatedTo } : {}),
      name: `h${i}`,
      ready: closed === undefined,
      ...(closed ? { closed } : {}),
      memoryBytes: gib * GiB,
      cores: of.cpus,
      cpuModel: of.mhz === 2000 ? "old" : "new",
      ...(idle === undefined ? {} : { idleWatts: idle, maxWatts: idle * 3 }),
      ...(idle && curve ? { wattsCurve: curve.map((share) => idle * (1 + 2 * share)) } : {}),
      accelerator: kvm ? ("kvm" as const) : ("tcg" as const),
      linkMbps: 1000,
      reservable: { cpus: of.cpus, memory: `${gib}Gi`, dedicatedCpus: 2 },
      has: { offers: uefi ? ["uefi"] : [] },
    }));

const anyMachine = (i: number): fc.Arbitrary<MachineView> =>
  fc
    .record({
      tier: fc.constantFrom("db", "web"),
      cpus: fc.integer({ min: 1, max: 3 }),
      gib: fc.integer({ min: 1, max: 5 }),
      host: fc.constantFrom(undefined, "gone", ...Array.from({ length: HOSTS }, (_, h) => `h${h}`)),
      movingTo: fc.constantFrom(undefined, undefined, undefined, undefined, "h0", "h1"),
      uefi: fc.boolean(),
      began: fc.constantFrom(undefined, "kvm", "tcg"),
      odd: fc.constantFrom(undefined, undefined, undefined, "disks", "own"),
      used: fc.constantFrom(undefined, undefined, 0, 0.3, 2.7),
    })
    .map(({ tier, cpus, gib, host, movingTo, uefi, began, odd, used }) => ({
      key: `default/m${i}`,
      namespace: "default",
      name: `m${i}`,
      labels: { tier },
      cpus,
      memoryBytes: gib * GiB,
      ...(host ? { host, ...(movingTo && movingTo !== host ? { movingTo } : {}) } : {}),
      ...(used === undefined ? {} : { use: { cpus: used, expected: used } }),
      ...(uefi ? { needs: { offers: ["uefi" as const] } } : {}),
      ...(began && host ? { platform: { accelerator: began as "kvm" | "tcg", cpuModel: "old" } } : {}),
      ...(odd === "disks" && !host ? { disksOn: "h2" } : {}),
      ...(odd === "own"
        ? { reserved: { cpus, memoryBytes: gib * GiB, dedicated: true, singleNode: false } }
        : {}),
      movable: true,
      since: 0,
    }));

const level = fc.constantFrom(undefined, undefined, ...DOMAINS);
const atMost = fc.constantFrom(
  undefined,
  { per: "rack" as const, machines: 2 },
  { per: "host" as const, percent: 40 },
  { per: "site" as const, percent: 60 },
);
const anyPolicy = (tier: string): fc.Arbitrary<Policy> =>
  fc
    .record({
      goals: fc.constantFrom<Policy["spec"]["goals"]>(
        [{ goal: "performance", weight: 1 }],
        [{ goal: "energy", weight: 1 }],
        undefined,
        [{ goal: "packing", weight: 1 }],
        [{ goal: "licences", weight: 1 }],
        [
          { goal: "performance", weight: 1 },
          { goal: "cost", weight: 2, during: { price: { above: 0.2 } } },
          { goal: "licences", weight: 1, during: { hours: "08:00-18:00" } },
        ],
        [
          { goal: "packing", weight: 3 },
          { goal: "carbon", weight: 2 },
          { goal: "performance", weight: 2 },
        ],
      ),
      keepApart: level,
      keepTogether: level,
      spread: level,
      atMost,
      never: fc.constantFrom(undefined, undefined, undefined, true),
      required: fc.constantFrom<string[] | undefined>(
        undefined,
        undefined,
        ["host.cpu.mhz >= 2500"],
        ["machine.cpus * 2 <= host.cpu.cores || host.disk.ssd"],
        [
          'machine.memory.bytes * 4 <= host.memory.bytes || machine.name == "vm0"',
          "host.power.maxWatts < 400.0",
        ],
        ['!(host.labels["tier"] in [machine.labels.tier])'],
      ),
      preferred: fc.constantFrom<Policy["spec"]["preferred"]>(
        undefined,
        [{ rule: "host.disk.ssd", weight: 10 }],
        [
          { rule: "machine.cpus > 1 && host.cpu.mhz > 2000", weight: 10 },
          { rule: "host.power.idleWatts < 50.0", weight: 5 },
        ],
      ),
    })
    .map(({ goals, never, required, preferred, ...groups }) => ({
      apiVersion: "vireo.dev/v2" as const,
      kind: "Policy" as const,
      metadata: { name: tier, namespace: "default" },
      spec: {
        selector: { matchLabels: { tier } },
        ...(goals ? { goals } : {}),
        automation: "act" as const,
        priority: 0,
        ...Object.fromEntries(Object.entries(groups).filter(([, of]) => of)),
        ...(required ? { required } : {}),
        ...(preferred ? { preferred } : {}),
        ...(never ? { moves: { never } } : {}),
      },
    }));

const SITES = new Map([
  ["n", { pue: 1.4, price: 0.3, carbon: 60 }],
  ["s", { pue: 1.1, price: 0.1 }],
]);

const anyEstate: fc.Arbitrary<Estate> = fc
  .tuple(
    fc.tuple(...Array.from({ length: HOSTS }, (_, i) => anyHost(i))),
    fc.tuple(...Array.from({ length: MACHINES }, (_, i) => anyMachine(i))),
    anyPolicy("db"),
    anyPolicy("web"),
  )
  .map(([hosts, machines, ...policies]) => ({
    hosts,
    machines,
    policies,
    odd: [],
    now: Date.UTC(2026, 10, 28, 12),
    sites: SITES,
  }));

function agree(estate: Estate): void {
  const index = indexOf(estate);
  for (const machine of estate.machines) {
    const seek = index.likings.seek(machine);
    if (!seek) throw new Error(`no ${machine.key}`);
    for (const [h, host] of estate.hosts.entries()) {
      const why = obstacle(estate, machine, host);
      if (host.name === machine.host) {
        // Of what is special the words have the last say; on the two hosts of a machine that moves it is not asked.
        if (isSpecial(machine) || machine.movingTo) continue;
        expect([machine.name, host.name, seek.now?.stays]).toEqual([
          machine.name,
          host.name,
          why === undefined,
        ]);
        expect(seek.now?.like).toBeCloseTo(score(estate, machine, host).total, 9);
        continue;
      }
      if (machine.movingTo) continue;
      const admitted = index.shelves.admits(seek.want, h) && !(isSpecial(machine) && why);
      expect([machine.name, host.name, admitted]).toEqual([machine.name, host.name, why === undefined]);
      if (admitted) expect(index.likings.liking(seek, h)).toBeCloseTo(score(estate, machine, host).total, 9);
    }
    if (machine.movingTo) continue;
    // The short way to the best one finds what looking at all finds.
    const possible = judge(estate, machine).filter(({ host, score: of }) => of && host.name !== machine.host);
    const accept = (h: number) => {
      const host = index.hostOf(h);
      return host !== undefined && !obstacle(estate, machine, host);
    };
    const lowest = Number.NEGATIVE_INFINITY;
    const calm = index.likings.best(seek, lowest, (h) => index.load.staysCalm(machine, h) && accept(h));
    const best = calm < 0 ? index.likings.best(seek, lowest, accept) : calm;
    const chosen = choose(estate, machine, machine.host);
    expect(chosen.possible).toBe(possible.length);
    const top = possible[0]?.score?.total ?? -1;
    if (best < 0) expect(possible).toEqual([]);
    else expect(index.likings.liking(seek, best)).toBeCloseTo(top, 9);
    expect(chosen.best?.score?.total ?? -1).toBeCloseTo(top, 9);
    expect(index.hostOf(best)?.name).toBe(chosen.best?.host.name);
  }
}

it("agrees at first and after moves", () => {
  fc.assert(
    fc.property(
      anyEstate,
      fc.array(fc.tuple(fc.nat(MACHINES - 1), fc.nat(HOSTS - 1)), { maxLength: 4 }),
      (start, moves) => {
        let estate = start;
        agree(estate);
        for (const [m, h] of moves) {
          const machine = estate.machines[m];
          if (!machine || machine.movingTo) continue;
          estate = apply(estate, machine.key, `h${h}`);
          agree(estate);
        }
      },
    ),
    { numRuns: 300, seed: 20_261_128 },
  );
});
