/** Traces and hosts are read with errors that name the place; simulations of them are the same each time, and keep to what they promise. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, it } from "vitest";
import type { Policy } from "../kinds.ts";
import type { Site } from "../sites.ts";
import { frugal } from "../testing/powered.ts";
import { cut, readCsv } from "./csv.ts";
import { vireo } from "./director.ts";
import { readHosts } from "./hosts.ts";
import { picture } from "./picture.ts";
import { readTrace } from "./read.ts";
import { remarks } from "./report.ts";
import { type Director, type Setting, simulate } from "./run.ts";
import { InputError } from "./trace.ts";

const GiB = 2 ** 30;
const sizes = { cpus: 2, memoryBytes: 8 * GiB };
const folder = mkdtempSync(join(tmpdir(), "vireo-simulate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const inFolder = (name: string, data: string | Buffer) => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};

it("reads a file a machine, with CPU or with CPU and memory, from a folder and from an archive", () => {
  const series = join(folder, "series");
  mkdirSync(series);
  writeFileSync(join(series, "Node_A.cs"), "10\n50\n0\n");
  writeFileSync(join(series, "node-b"), "25.5 12.5\n27 13\n100 10\n");
  execFileSync("tar", ["czf", join(folder, "series.tar.gz"), "-C", folder, "series"]);
  const read = readTrace(series, sizes);
  expect(read.steps).toBe(3);
  expect(read.machines.map(({ name, cpus, memoryBytes }) => [name, cpus, memoryBytes / GiB])).toEqual([
    ["node-a-cs", 2, 8],
    // 13 % of 8 GiB, in whole 64 MiB.
    ["node-b", 2, 1.0625],
  ]);
  expect([...(read.machines[0]?.use ?? [])]).toEqual([0.2, 1, 0].map(Math.fround));
  const packed = readTrace(join(folder, "series.tar.gz"), sizes);
  expect(packed.machines.map(({ use }) => [...use])).toEqual(read.machines.map(({ use }) => [...use]));
});

it("reads our own CSV: what was told last holds until the next line", () => {
  const text = [
    "# made up",
    "time,machine,cpuPercent,memory,cpus,app",
    "2026-11-28T00:00:00Z,web-1,50,2Gi,4,web",
    "2026-11-28T00:15:00Z,web-1,100,2Gi,4,web",
    `${Date.parse("2026-11-28T00:05:00Z") / 1000},db,25,8Gi,,`,
  ].join("\n");
  const trace = readCsv(text, "t.csv", sizes);
  expect(trace.steps).toBe(4);
  expect(new Date(trace.startMs).toISOString()).toBe("2026-11-28T00:00:00.000Z");
  expect(trace.machines.map(({ name, labels, cpus, use }) => [name, labels, cpus, [...use]])).toEqual([
    ["web-1", { app: "web" }, 4, [2, 2, 2, 4]],
    ["db", {}, 2, [0, 0.5, 0.5, 0.5]],
  ]);
  expect([...(cut(trace, 5 / 288).machines[1]?.use ?? [])]).toEqual([0, 0.5, 0.5, 0.5, 0]);
});

it("reads the CSV of Bitbrains, with what its machines were declared to have", () => {
  // Of bitbrains-small (GWA-T-12, fastStorage).
  inFolder(
    "small-meta.csv",
    "id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity\n1019,1376314546000,2592252000,1,2926.0,181352\n",
  );
  const path = inFolder(
    "small-1d.csv.gz",
    gzipSync("id,epoch_s,cpu_count,cpu_usage\n1019,1376314800,1,0.000\n1019,1376315100,1,1463\n"),
  );
  const [machine] = readTrace(path, sizes).machines;
  expect(machine?.memoryBytes).toBe(181352 * 1024);
  expect([...(machine?.use ?? [])]).toEqual([0, 0.5]);
});

it.each([
  ["none.csv", undefined, "no such file"],
  ["a.txt", "1\n", "a.txt: a folder, .tar, .tar.gz, .tgz, .csv or .csv.gz is needed"],
  ["b.csv.gz", "not packed", "b.csv.gz: cannot be unpacked: incorrect header check"],
  ["c.tar", "x".repeat(2000), "c.tar: is no tar archive, or was cut off at byte 0"],
  ["d.csv", "time,machine\n1,a\n", "d.csv:1: no column cpuPercent, memory; its first line is time,machine,"],
  ["e.csv", "time,machine,cpuPercent,memory\n1,a,5\n", "e.csv:2: 3 columns, the first line has 4"],
  [
    "f.csv",
    "time,machine,cpuPercent,memory\n\n1,a,x,1Gi\n",
    'f.csv:3: cpuPercent: "x" is no number from 0 on',
  ],
  [
    "g.csv",
    "time,machine,cpuPercent,memory\n1,a,500,1Gi\n",
    "g.csv:2: cpuPercent: 500 is more than all of its CPUs (100)",
  ],
  [
    "h.csv",
    "time,machine,cpuPercent,memory\nnoon,a,5,1Gi\n",
    'h.csv:2: time: "noon" is neither seconds since 1970 nor',
  ],
  ["i.csv", "time,machine,cpuPercent,memory\n1,a,5,much\n", "i.csv:2: memory: "],
  [
    "j.csv",
    "time,machine,cpuPercent,memory\n1,A b,5,1Gi\n",
    'j.csv:2: machine: "A b" is no name of a machine',
  ],
  ["k.csv", "", "k.csv: holds no row; its first line is time,machine,"],
])("says what is wrong with %s, and where", (name, text, message) => {
  const path = text === undefined ? join(folder, name) : inFolder(name, text);
  expect(() => readTrace(path, sizes)).toThrow(InputError);
  expect(() => readTrace(path, sizes)).toThrow(message);
});

it("says which line of a machine's file is wrong", () => {
  const bad = join(folder, "bad");
  mkdirSync(bad);
  writeFileSync(join(bad, "m"), "1\n2 3\n");
  expect(() => readTrace(bad, sizes)).toThrow("bad/m:2: 2 numbers; each line has CPU percent");
});

it.each([
  ["hosts:\n  - name: a\n", "e.yaml:2: hosts[0].processors: "],
  [
    "hosts:\n  - { name: a, processors: 8, memory: 8Gi }\n  - { name: b, processors: 8, memory: 8 }\n    # x\n",
    "e.yaml:3: hosts[1].memory: ",
  ],
  [
    "hosts:\n  - name: a\n    processors: 8\n    memry: 8Gi\n",
    "e.yaml:4: hosts[0].memry: is unknown; a host has name, count, processors",
  ],
  [
    "hosts:\n  - name: a\n    processors: 8\n    memory: 8Gi\n    watts: [1, 2]\n",
    "e.yaml:5: hosts[0].watts: ",
  ],
  [
    "hosts:\n  - name: a\n    processors: 8\n    memory: 8Gi\n    watts: [9, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n",
    "e.yaml:5: hosts[0].watts: point 1 (2 W) is less than the one before",
  ],
  [
    "hosts:\n  - { name: a, processors: 8, memory: 8Gi }\n  - { name: a, processors: 8, memory: 8Gi }\n",
    'e.yaml: host "a" is there twice',
  ],
  ["kind: Policy\n", "e.yaml:1: neither `hosts:` nor an object of kind Host"],
  [
    "kind: Host\nmetadata: { name: a }\nspec: {}\n",
    "e.yaml:1: a Host without status.facts and status.capacity",
  ],
  ["", "e.yaml: holds no host; it needs `hosts:`"],
  ["hosts: [\n", "e.yaml:"],
])("says what is wrong with hosts: %j", (text, message) => {
  expect(() => readHosts(text, "e.yaml")).toThrow(InputError);
  expect(() => readHosts(text, "e.yaml")).toThrow(message);
});

const root = resolve(import.meta.dirname, "../../..");
const example = (name: string) => join(root, "examples/simulate", name);
const policy = (spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "p", namespace: "default" },
  spec: { selector: {}, goals: [{ goal: "balanced", weight: 1 }], automation: "act", priority: 0, ...spec },
});
const setting = (spec: Partial<Policy["spec"]>): Setting => ({
  hosts: readHosts(readFileSync(example("estate.yaml"), "utf8"), "estate.yaml"),
  policies: [policy(spec)],
  trace: cut(readTrace(example("load.csv"), sizes), 1),
});

it("takes the real planner to fewer hosts and less energy for the policy energy, and is the same each time", () => {
  const [energy, again, performance] = (["energy", "energy", "performance"] as const).map((goal) =>
    simulate(setting({ goals: [{ goal, weight: 1 }] }), vireo(goal)),
  );
  expect(energy).toEqual(again);
  expect(energy?.energyKWh).toBeLessThan((performance?.energyKWh ?? 0) * 0.6);
  expect(energy?.samples.at(-1)?.hostsOn).toBe(2);
  expect(performance?.samples.at(-1)?.hostsOn).toBe(6);
  expect(
    [energy, performance].map((o) => [o?.overloadMinutes, o?.brokenMinutes, o?.homeless.length]),
  ).toEqual([
    [0, 0, 0],
    [0, 0, 0],
  ]);
  const svg = picture(
    [energy, performance].flatMap((o) => o ?? []),
    ["a < b & c"],
  );
  expect(svg).toContain("a &lt; b &amp; c");
  expect(svg.match(/<polyline /g)).toHaveLength(8);
});

const GOES: Director = {
  name: "all to the first",
  switchesOff: true,
  eachMinute: false,
  place: ({ hosts }) => hosts[0]?.name,
  look: () => [],
};

it("counts overload, energy and broken rules of whoever decides", () => {
  const { hosts } = setting({});
  const one = { name: "m", labels: {}, cpus: 8, memoryBytes: GiB };
  const trace = {
    startMs: 0,
    steps: 12,
    machines: Array.from({ length: 4 }, (_, i) => ({
      ...one,
      name: `m${i}`,
      use: new Float32Array(12).fill(i < 2 ? 20 : 10),
    })),
  };
  const north: Site = {
    apiVersion: "vireo.dev/v1",
    kind: "Site",
    metadata: { name: "north" },
    spec: { timeZone: "UTC", pricePerKWh: [0.2], carbonPerKWh: [400], pue: [1.5] },
  };
  const outcome = simulate({ hosts, policies: [policy({ keepApart: "host" })], trace, sites: [north] }, GOES);
  // 60 wanted of 56, for an hour, at 235 W; half as much again for the building.
  expect(outcome.cost).toBeCloseTo(0.235 * 1.5 * 0.2, 4);
  expect(outcome.carbonKg).toBeCloseTo(0.235 * 1.5 * 0.4, 4);
  expect(outcome.overloadMinutes).toBe(60);
  expect(outcome.unmet).toBeCloseTo(4 / 60);
  expect(outcome.energyKWh).toBeCloseTo(0.235, 3);
  expect(outcome.brokenMinutes).toBe(4 * 60);
  expect(outcome.moves).toBe(0);
});

it("has hosts on and off as a PowerPolicy says: none goes before its time, one is spare, and boots take theirs", () => {
  const hosts = readHosts(
    "hosts: [{name: h, count: 4, processors: 8, memory: 32Gi, watts: [50,60,70,80,90,100,110,120,130,140,150]}]",
    "h.yaml",
  );
  // Of eight machines on two hosts, then suddenly busy, so that a third one is needed.
  const steps = 48;
  const machines = Array.from({ length: 8 }, (_, i) => ({
    name: `m-${i}`,
    labels: {},
    cpus: 2,
    memoryBytes: 6 * GiB,
    use: Float32Array.from({ length: steps }, (_, step) => (step < 24 ? 0.2 : 1.9)),
  }));
  const trace = { startMs: Date.UTC(2026, 0, 5), steps, machines };
  const given: Setting = { hosts, trace, policies: [policy({ goals: [{ goal: "energy", weight: 1 }] })] };
  const on = (more: Partial<Setting>) =>
    simulate({ ...given, ...more }, vireo("v")).samples.map(({ hostsOn }) => hostsOn);
  const saves = frugal({ spareHosts: 1, minOnMinutes: 0, minOffMinutes: 30, bootSeconds: 600 });
  const ideal = on({});
  const real = on({ powerPolicies: [saves] });
  expect([ideal[0], real[0]]).toEqual([2, 4]);
  // One at a time goes off; what a loss needs stays.
  expect(real[12]).toBe(3);
  expect(real.every((count, step) => count >= (ideal[step] ?? 0))).toBe(true);
  const outcome = simulate({ ...given, powerPolicies: [saves] }, vireo("v"));
  expect(outcome.brokenMinutes).toBe(0);
  // Under advise it is asked what it would do; off does nothing.
  expect(on({ powerPolicies: [frugal({ ...saves.spec, automation: "advise" })] })).toEqual(real);
  expect(on({ powerPolicies: [frugal({ ...saves.spec, automation: "off" })] })).toEqual(real.map(() => 4));
  // A host whose labels it does not choose stays on.
  expect(
    on({ powerPolicies: [frugal({ ...saves.spec, selector: { matchLabels: { power: "saved" } } })] }),
  ).toEqual(real.map(() => 4));
  const without = simulate(
    { ...given, powerPolicies: [{ ...saves, spec: { ...saves.spec, automation: "off" } }] },
    vireo("v"),
  );
  expect(outcome.energyKWh).toBeLessThan(without.energyKWh);
});

it("goes by the prices of each hour: what may run nowhere when it begins starts later, and what may stay is not counted as broken", () => {
  const hosts = readHosts("hosts: [{name: h, site: s, count: 2, processors: 8, memory: 32Gi}]", "h.yaml");
  const dearAtFirst: Site = {
    apiVersion: "vireo.dev/v1",
    kind: "Site",
    metadata: { name: "s" },
    spec: {
      timeZone: "UTC",
      pricePerKWh: Array.from({ length: 24 }, (_, hour) => (hour === 12 ? 0.5 : 0.1)),
    },
  };
  const steps = 24;
  const use = new Float32Array(steps).fill(0.2);
  const trace = {
    startMs: Date.UTC(2026, 0, 5, 12),
    steps,
    machines: [{ name: "m", labels: {}, cpus: 1, memoryBytes: GiB, use }],
  };
  const cheap = policy({ required: ["host.power.price < 0.3"] });
  const outcome = simulate({ hosts, policies: [cheap], trace, sites: [dearAtFirst] }, vireo("v"));
  expect([outcome.homeless, outcome.waitedMinutes, outcome.brokenMinutes]).toEqual([[], 60, 0]);
  expect(remarks([outcome])).toContain("v: machines waited 60 minutes in all until a host could take them");
  // From a dear hour into a cheap one, and the other way round.
  const dear = policy({ required: ["host.power.price > 0.3"] });
  expect(simulate({ hosts, policies: [dear], trace, sites: [dearAtFirst] }, GOES).brokenMinutes).toBe(60);
});

it("counts losses that would not be survived", () => {
  const hosts = readHosts("hosts: [{name: h, count: 2, processors: 8, memory: 8Gi}]", "h.yaml");
  const use = new Float32Array(12).fill(0.2);
  const machines = ["a", "b"].map((name) => ({ name, labels: {}, cpus: 1, memoryBytes: 5 * GiB, use }));
  const spread: Director = {
    ...GOES,
    place: (estate, { name }) => estate.hosts[name === "a" ? 0 : 1]?.name,
  };
  const trace = { startMs: 0, steps: 12, machines };
  const survives = policy({ failover: { per: "host", losses: 1 } });
  expect(simulate({ hosts, policies: [survives], trace }, spread).brokenMinutes).toBe(2 * 60);
  const small = { ...trace, machines: machines.map((one) => ({ ...one, memoryBytes: GiB })) };
  expect(simulate({ hosts, policies: [survives], trace: small }, spread).brokenMinutes).toBe(0);
});
