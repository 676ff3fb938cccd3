/** Each attribute that rules may read: where it comes from, and what becomes of a rule where it is not known. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Host, type HostFacts } from "../../compute/hosts/kinds.ts";
import { declaredFacts, NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { viewHost } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { readEstate } from "../estate/read-estate.ts";
import { withTariffs } from "../estate/tariffs.ts";
import { Policy } from "../kinds.ts";
import { Site } from "../sites.ts";
import { ATTRIBUTES, SIDES } from "./attributes.ts";
import { breach, expressionOf, problemOf } from "./expressions.ts";
import { obstacle } from "./rules.ts";

const GiB = 2 ** 30;
const MACHINE = { name: "db", namespace: NS, labels: {}, cpus: 4, memoryBytes: 8 * GiB };
const dimm = (more: object) => ({
  locator: "A1",
  sizeBytes: 32 * GiB,
  type: "DDR5",
  speedMTs: 4800,
  ...more,
});

function hostOf(facts: Partial<HostFacts>, status: Partial<Host["status"]> = {}, spec: Host["spec"] = {}) {
  const view = viewHost({
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name: "a" },
    spec,
    status: {
      capacity: { cpus: 16, memory: "63Gi" },
      facts: declaredFacts("a", facts),
      conditions: [{ type: "Ready", status: "True", reason: "x", message: "", lastTransitionTime: "" }],
      ...status,
    },
  });
  if (!view) throw new Error("it tells nothing");
  return view;
}

const FULL = hostOf(
  {
    cpu: {
      model: "AMD EPYC 9354",
      sockets: 2,
      cores: 64,
      threads: 128,
      mhz: 3250,
      smt: true,
      vendor: "AuthenticAMD",
      family: 25,
      level: 4,
      flags: ["avx2", "avx512f", "sev"],
    },
    memory: {
      totalBytes: 64 * GiB,
      modules: [dimm({ ecc: true, numaNode: 0 }), dimm({ ecc: true, speedMTs: 4400, numaNode: 1 })],
    },
    numaNodes: [0, 1].map((id) => ({ id, cpus: `${id}`, memoryBytes: 32 * GiB, hugepages: [] })),
    disks: [
      { name: "nvme0n1", sizeBytes: 960 * GiB, kind: "ssd", model: "x", transport: "nvme" },
      { name: "sda", sizeBytes: 4000 * GiB, kind: "hdd", model: "y", transport: "sas" },
      { name: "sdb", sizeBytes: 0, kind: "unknown", model: "z" },
    ],
    links: [
      { name: "e1", mac: "", mbps: 25_000, up: true },
      { name: "e2", mac: "", mbps: 25_000, up: false },
    ],
    powerSupplies: [1, 2].map((n) => ({ name: `PSU${n}`, maxWatts: 1000, status: "Present, OK" })),
    qemu: { version: "8", accelerator: "kvm", reason: "x", guestCpus: ["EPYC", "EPYC-Genoa"] },
  },
  {
    memoryErrors: {
      time: "",
      modules: [3, 4].map((n) => ({ module: `${n}`, corrected: 99, uncorrected: 0, correctedLastDay: n })),
    },
  },
  { site: "north", budget: { iops: 90_000, diskBytesPerSecond: "2Gi", networkBytesPerSecond: "3Gi" } },
);
const [NORTH = FULL] = withTariffs([FULL], new Map([["north", { pue: 1.4, price: 0.28, carbon: 310 }]]));

/** Of the host: what each says of the one that tells all. */
const TRUE = [
  'host.cpu.vendor == "AuthenticAMD" && host.cpu.family >= 25 && host.cpu.level == 4 && host.cpu.smt',
  '"avx512f" in host.cpu.flags && !("amx_tile" in host.cpu.flags) && "sev" in host.cpu.flags',
  'size(host.cpu.flags) == 3 && "avx2" in host.cpu.flags && host.cpu.flags.exists(f, f.startsWith("avx512"))',
  '"EPYC-Genoa" in host.cpu.guests',
  'host.numa.nodes == 2 && host.numa.modules == 1 && host.numa.memoryBytes == quantity("32Gi")',
  'host.memory.moduleBytes == quantity("32Gi")',
  'host.memory.modules == 2 && host.memory.speedMTs == 4400 && host.memory.ecc && "DDR5" in host.memory.types',
  "host.memory.errorsLastDay == 7",
  "host.disk.ssd && host.disk.count == 3",
  'host.disk.bytes == quantity("4960Gi")',
  'host.disk.kinds == ["hdd", "ssd"] && "nvme" in host.disk.transports',
  "host.disk.iops >= 90000 && host.disk.bytesPerSecond == quantity('2Gi')",
  "host.link.mbps == 25000 && host.link.count == 1 && host.link.bytesPerSecond == quantity('3Gi')",
  "host.power.supplies == 2",
  "host.power.price < 0.3 && host.power.carbon > 300.0 && host.power.pue == 1.4",
];

it.each(TRUE)("%s", (rule) => {
  expect(problemOf(rule)).toBeUndefined();
  expect(expressionOf(rule).decide(NORTH, MACHINE)).toBe(true);
});

it("rules may ask for the latency sensitivity of a machine, also of one that does not say it", () => {
  const rule = 'machine.latencySensitivity != "high" || host.cpu.mhz >= 4000';
  expect(problemOf(rule)).toBeUndefined();
  expect(expressionOf(rule).decide(FULL, MACHINE)).toBe(true);
  expect(expressionOf('machine.latencySensitivity == "normal"').decide(FULL, MACHINE)).toBe(true);
  expect(expressionOf(rule).decide(FULL, { ...MACHINE, latencySensitivity: "high" })).toBe(false);
});

it("rules may ask for what a machine is measured to use, to two digits", () => {
  const demand = { memoryBytes: 3.14159e9, iops: 1234, diskBytes: 56_789, networkBytes: 98_765 };
  const seen = { ...MACHINE, use: { cpus: 9, expected: 2.468, demand }, dirtyBytesPerSecond: 123_456 };
  for (const rule of [
    "machine.use.cpus == 2.5",
    "machine.use.memoryBytes == 3100000000 && machine.use.iops == 1200",
    "machine.use.diskBytesPerSecond == 57000 && machine.use.networkBytesPerSecond == 99000",
    "!(machine.use.cpus < 2.0) && host.cpu.sockets > 1",
    "machine.use.dirtyBytesPerSecond == 120000",
  ]) {
    expect(problemOf(rule)).toBeUndefined();
    expect(expressionOf(rule).decide(FULL, seen), rule).toBe(true);
    expect(expressionOf(rule).decide(FULL, MACHINE), rule).toMatchObject({
      unknown: expect.stringMatching(/^machine\.use\.\w+ is not known$/),
    });
  }
  const rule = "!has(machine.use.cpus) || machine.use.cpus < 2.0";
  expect([MACHINE, seen].map((machine) => expressionOf(rule).decide(FULL, machine))).toEqual([true, false]);
  expect(problemOf("machine.use.cpus > 2")).toBeUndefined();
  expect(problemOf('machine.use.iops > "many"')).toMatch(/^column 18: > does not go with int and string/);
});

it("of a host that tells none of it no such rule is kept, neither turned round, and has() asks", () => {
  const bare = hostOf({ qemu: { version: "8", accelerator: "kvm", reason: "x" } });
  const untold = Object.keys(ATTRIBUTES.host).filter(
    (name) => ATTRIBUTES.host[name]?.of(FULL) !== undefined && ATTRIBUTES.host[name]?.of(bare) === undefined,
  );
  expect(untold).toContain("cpu.flags");
  expect(untold).toContain("memory.ecc");
  for (const rule of [
    '"avx512f" in host.cpu.flags',
    '!("avx512f" in host.cpu.flags)',
    "host.memory.ecc",
    "!host.memory.ecc",
    "host.numa.nodes < 9",
    "host.power.supplies >= 0",
    "host.power.price >= 0.0",
    "host.disk.iops >= 0",
    "host.memory.errorsLastDay < 100",
  ])
    expect(expressionOf(rule).decide(bare, MACHINE), rule).toEqual({
      unknown: expect.stringMatching(/^host\.[\w.]+ is not known$/),
    });
  for (const name of untold) {
    const asked = `has(host.${name})`;
    expect(problemOf(asked)).toBeUndefined();
    expect([NORTH, bare].map((host) => expressionOf(asked).decide(host, MACHINE))).toEqual([true, false]);
  }
  expect(breach('"avx512f" in host.cpu.flags', bare, MACHINE)).toBe(
    'requires "avx512f" in host.cpu.flags, but host.cpu.flags is not known',
  );
});

it("memory has ECC when all of its modules have, has none when one has none, and else it is not known", () => {
  const ecc = (...of: (boolean | undefined)[]) =>
    ATTRIBUTES.host["memory.ecc"]?.of(
      hostOf({
        memory: { totalBytes: 0, modules: of.map((each) => dimm(each === undefined ? {} : { ecc: each })) },
      }),
    );
  expect([ecc(true, true), ecc(true, false), ecc(true, undefined), ecc(undefined, false), ecc()]).toEqual([
    true,
    false,
    undefined,
    false,
    undefined,
  ]);
});

it("a breach tells of a long list no more than was asked", () => {
  expect(breach('"amx_tile" in host.cpu.flags', FULL, MACHINE)).toBe(
    'requires "amx_tile" in host.cpu.flags ("amx_tile" in host.cpu.flags is false)',
  );
});

it("a rule about the price holds by the hour, and the server leaves it to the director", async () => {
  const estate = await openEstate();
  try {
    const { client } = estate;
    const dearFromNoon = Array.from({ length: 24 }, (_, hour) => (hour < 12 ? 0.1 : 0.5));
    const prices = { a: dearFromNoon, b: [0.2] };
    for (const [host, pricePerKWh] of Object.entries(prices)) {
      await client.create(Site, { metadata: { name: `site-${host}` }, spec: { pricePerKWh } });
      await estate.hostFacts(host);
      await client.patch(Host, { name: host }, { spec: { site: `site-${host}` } });
    }
    const rule = "host.power.price < 0.3";
    await client.create(Policy, {
      metadata: { name: "cheap", namespace: NS },
      spec: { selector: {}, required: [rule] },
    });
    await estate.createMachine("web");
    await estate.instance("web-1");
    const seenAt = async (hour: number) => {
      const clock = { ...systemClock, now: () => new Date(Date.UTC(2026, 0, 5, hour)) };
      const seen = await readEstate(client, { clock });
      const machine = indexOf(seen).get(`${NS}/web`);
      return seen.hosts.map((host) => machine && obstacle(seen, machine, host));
    };
    expect(await seenAt(3)).toEqual([undefined, undefined]);
    expect(await seenAt(15)).toEqual([
      `policy "cheap" requires ${rule} (host.power.price is 0.5)`,
      undefined,
    ]);
    await estate.bind("web-1", "a");
  } finally {
    await estate.close();
  }
});

it("the guide names every attribute", () => {
  const guide = readFileSync(join(import.meta.dirname, "../../../docs/policies.md"), "utf8");
  for (const side of SIDES)
    for (const name of Object.keys(ATTRIBUTES[side])) {
      const [first = "", second] = name.split(".");
      const rows = guide.split("\n").filter((line) => line.startsWith("|") && line.includes(`${side}.`));
      const named = rows.some((row) =>
        second === undefined
          ? new RegExp(`\`(${side})?\\.${first}\``).test(row)
          : row.includes(`\`${side}.${name}\``) ||
            (row.includes(`${side}.${first}.`) && row.includes(`\`.${second}\``)),
      );
      expect(named, `${side}.${name}`).toBe(true);
    }
});
