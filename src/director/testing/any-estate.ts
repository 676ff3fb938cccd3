/** Estates of any sort, for property tests. */
import fc from "fast-check";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { DOMAINS, type Policy } from "../kinds.ts";

const GiB = 2 ** 30;
export const HOSTS = 6;
export const MACHINES = 9;

/** Curves of watts from 0, at idle, to 1. */
const STEEP = [0, 0.4, 0.7, 0.8, 0.85, 0.87, 0.9, 0.92, 0.95, 0.97, 1];
const FLAT = [0, 0.02, 0.05, 0.07, 0.1, 0.12, 0.15, 0.2, 0.3, 0.6, 1];

const anyHost = (i: number): fc.Arbitrary<HostView> =>
  fc
    .record({
      mhz: fc.constantFrom(0, 2000, 3000),
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
      off: fc.constantFrom(undefined, undefined, true),
    })
    .map(({ tier, cpus, gib, host, movingTo, uefi, began, odd, used, off }) => ({
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
      ...(off && !host ? { off } : {}),
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

/** Small, of everything that estates have. */
export const anyEstate: fc.Arbitrary<Estate> = fc
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
