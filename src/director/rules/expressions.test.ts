import { describe, expect, it } from "vitest";
import type { HostView, MachineView } from "../estate/estate.ts";
import { ATTRIBUTES, SIDES } from "./attributes.ts";
import { contradictions } from "./contradictions.ts";
import { breach, expressionOf, problemOf } from "./expressions.ts";

const GiB = 2 ** 30;
const HOST: HostView = {
  name: "a",
  ready: true,
  site: "north",
  rack: "r1",
  labels: { tier: "gold" },
  cpus: 16,
  memoryBytes: 64 * GiB,
  mhz: 3000,
  cores: 8,
  cpuModel: "EPYC 7302",
  accelerator: "kvm",
  has: { offers: ["uefi"] },
  ssd: true,
  linkMbps: 0,
  maxWatts: 300.5,
};
const MACHINE: MachineView = {
  key: "default/db",
  namespace: "default",
  name: "db",
  labels: { tier: "gold" },
  cpus: 4,
  memoryBytes: 8 * GiB,
  movable: true,
  since: 0,
};

it.each([
  ['host.cpu.model.startsWith("EPYC") && host.cpu.mhz >= 3000', true],
  ['host.memory.bytes >= quantity("64Gi")', true],
  ['host.memory.bytes > quantity("64Gi")', false],
  ["machine.cpus * 2 <= host.cpu.cores", true],
  ["host.labels.tier == machine.labels.tier", true],
  ['"tier" in host.labels && !("zone" in host.labels)', true],
  ['host.labels["tier"] in ["gold", "silver"]', true],
  ['"uefi" in host.offers', true],
  ['host.offers.exists(o, o == "uefi") && host.labels.exists(key, key == "tier")', true],
  ["size(host.labels) == 1", true],
  ["host.power.maxWatts <= 300", false],
  ['machine.architecture == "x86_64" && machine.memory.bytes < host.memory.bytes', true],
])("%s is %s", (text, outcome) => {
  expect(problemOf(text)).toBeUndefined();
  expect(expressionOf(text).decide(HOST, MACHINE)).toBe(outcome);
});

it("what a host does not tell keeps no rule, neither turned round, unless the rest decides", () => {
  const of = (text: string) => expressionOf(text).decide(HOST, MACHINE);
  for (const text of ["host.power.idleWatts <= 50.0", "!(host.power.idleWatts <= 50.0)"])
    expect(of(text)).toEqual({ unknown: "host.power.idleWatts is not known" });
  expect(of('host.labels["zone"] == "x"')).toEqual({ unknown: 'host.labels["zone"] is not known' });
  expect(of("host.link.mbps < 1000")).toMatchObject({ unknown: "host.link.mbps is not known" });
  expect(of("host.power.idleWatts <= 50.0 || host.disk.ssd")).toBe(true);
  expect(of("!has(host.power.idleWatts) || host.power.idleWatts <= 50.0")).toBe(true);
  expect(of('timestamp("x") == timestamp("y")')).toMatchObject({
    unknown: expect.stringContaining("it cannot be decided"),
  });
  expect(of("1 / (host.cpu.cores - 8) == 1")).toEqual({ unknown: "it cannot be decided: division by zero" });
  expect(breach("host.power.idleWatts <= 50.0", HOST, MACHINE)).toBe(
    "requires host.power.idleWatts <= 50.0, but host.power.idleWatts is not known",
  );
});

it("a breach tells what the host has", () => {
  expect(breach('host.labels.tier == "iron" &&\n  host.cpu.mhz >= 1', HOST, MACHINE)).toBe(
    'requires host.labels.tier == "iron" && host.cpu.mhz >= 1 (host.labels.tier is gold, host.cpu.mhz is 3000)',
  );
});

describe("what is wrong with a rule is told with its place", () => {
  it.each([
    [
      "host.cpu.mzh >= 3000",
      'column 10: host.cpu has no "mzh"; did you mean "mhz"? (it has cores, family, flags, guests, level, mhz, model, smt, sockets, threads, vendor)\n  host.cpu.mzh >= 3000\n           ^',
    ],
    [
      "host.disk.ssd &&\n  host.mhz > 1",
      /^line 2, column 8: host has no "mhz"; did you mean "host.cpu.mhz"\?.*\n {4}host.mhz > 1\n {9}\^$/,
    ],
    ['"avx2" in host.cpu.mhz', /^column 8: in does not go with string and int\n.*\n {9}\^$/],
    ["host.cpu.flags == 3", /^column 16: == does not go with list<string> and int\n/],
    ["host.memory.ecc > 1", /^column 17: > does not go with bool and int\n/],
    [
      'host.disk.ssd && host.cpu.flags.contains("avx512f")',
      'column 32: list has no contains(string); did you mean "avx512f" in host.cpu.flags?\n  host.disk.ssd && host.cpu.flags.contains("avx512f")\n                                 ^',
    ],
    [
      'host.labels.has("tier")',
      /^column 12: map has no has\(string\); did you mean "tier" in host.labels\?\n/,
    ],
    ["host.cpu.flags.avx512f", /^column \d+: .*; did you mean "avx512f" in host.cpu.flags\?\n/],
    ['host.cpu.flags["avx512f"]', /^column \d+: .*; did you mean "avx512f" in host.cpu.flags\?\n/],
    ["host.name.contains(1)", /^column 10: string has no contains\(int\)\n/],
    [
      "1 == host.cpu",
      /^column 6: host.cpu has attributes and is none itself \(it has cores, family, .*, threads, vendor\)\n/,
    ],
    ["host == machine", /^column 1: host has attributes and is none itself \(it has accelerator, cpu, /],
    ["host.disk.ssd && !host.cpu", /^column 19: host.cpu has attributes and is none itself/],
    ["host.memory", /^column 1: host.memory has attributes and is none itself/],
    ["hots.disk.ssd", /^column 1: there is no "hots"; did you mean "host"\?/],
    ["cpu.mhz > 3000", /^column 1: there is no "cpu".*\n/],
    ['host.cpu.mhz >= "3000"', /^column 14: >= does not go with int and string\n.*\n {15}\^$/],
    [
      "host.power.idleWatts * 2 > 3",
      /^column 22: \* does not go with double and int; write the number with a point, 2.0\n/,
    ],
    ["host.cpu.mhz >=", /^column 16: Unexpected token: EOF/],
    ['timestamp("x") == timestamp("y")', undefined],
    ["host.cpu.mhz", /^column 1: a rule is true or false, this is int/],
    ['host.name.matches("(a+)+$")', /^column 10: regular expressions are not for rules/],
    ["host.offers.all(a, host.offers.exists(b, a == b))", /^column 31: loops cannot stand in one another/],
    ['host.memory.bytes > quantity("64 gigs")', /^column 30: "64 gigs" is no size/],
    ["host.memory.bytes > quantity(host.name)", /^column 21: quantity\(\) takes a size in quotes/],
    ['host["cpu"].mhz > 1', /^column 6: attributes are named with a point/],
    [`host.name in [${'"a", '.repeat(101)}"a"]`, /list/i],
  ])("%s", (text, problem) => {
    if (typeof problem !== "object") expect(problemOf(text)).toBe(problem);
    else expect(problemOf(text)).toMatch(problem);
  });
});

it("one that was stored and cannot be read is never kept, and says why", () => {
  expect(breach("host.gone == 1", HOST, MACHINE)).toMatch(
    /^requires host.gone == 1, but it is no rule: column 6: host has no "gone"/,
  );
});

it.each([
  [["host.cpu.mhz >= 3000", "host.cpu.mhz < 3000"], [[0, 1]]],
  [["host.cpu.mhz > 3000", "3001 > host.cpu.mhz"], [[0, 1]]],
  [["host.power.maxWatts > 300.0", "host.power.maxWatts < 300.5"], []],
  [['host.memory.bytes >= quantity("64Gi")', 'host.memory.bytes <= quantity("32Gi")'], [[0, 1]]],
  [['host.site == "a"', 'host.rack == "b"', 'host.site in ["b", "c"]'], [[0, 2]]],
  [['host.site in ["a", "b"]', 'host.site != "a"'], []],
  [['host.site == "a"', '!(host.site in ["a", "b"])'], [[0, 1]]],
  [["host.disk.ssd", "!host.disk.ssd"], [[0, 1]]],
  [["host.disk.ssd && host.cpu.cores < 4", "host.cpu.mhz > 1 && host.cpu.cores > 4"], [[0, 1]]],
  [["!(host.disk.ssd || host.cpu.cores < 4)", "host.disk.ssd"], [[0, 1]]],
  [["host.disk.ssd || host.cpu.cores < 4", "!host.disk.ssd"], []],
  [["host.cpu.cores > 4 && host.cpu.cores < 3"], [[0, 0]]],
  [['host.labels.tier == "a"', 'host.labels["tier"] == "b"'], [[0, 1]]],
  [['host.name > "a"', 'host.name < "b"'], []],
  [["machine.cpus < 4", "machine.cpus >= 4"], [[0, 1]]],
])("of %j these exclude one another: %j", (rules, pairs) => {
  for (const rule of rules) expect(problemOf(rule)).toBeUndefined();
  expect(contradictions(rules)).toEqual(pairs);
});

const NUMBERS = SIDES.flatMap((side) =>
  Object.entries(ATTRIBUTES[side])
    .filter(([, { type }]) => type === "int" || type === "double")
    .map(([path, { type }]) => [`${side}.${path}`, type] as const),
);
it.each(NUMBERS)(
  "of %s, a number that is %s, rules exclude one another where no such number is left",
  (of, type) => {
    const none = type === "int" ? [[0, 0]] : [];
    const cases: [rule: string, pairs: number[][]][] = [
      [`${of} > 1 && ${of} < 2`, none],
      [`${of} > 1.2 && ${of} < 1.8`, none],
      [`${of} > 1.5`, []],
      [`${of} < 1.5`, []],
      [`${of} > 1.5 && ${of} < 3.7`, []],
      [`${of} > 2 && ${of} < 1`, [[0, 0]]],
    ];
    for (const [rule, pairs] of cases) {
      expect(problemOf(rule)).toBeUndefined();
      expect([rule, contradictions([rule])]).toEqual([rule, pairs]);
    }
  },
);
