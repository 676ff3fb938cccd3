import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Resource } from "../../resource/object.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { validate } from "../../resource/schema.ts";
import { checkPolicy } from "../checks.ts";
import type { HostView } from "../estate/estate.ts";
import { Policy } from "../kinds.ts";
import { isKept, problemOf } from "./expressions.ts";
import { inCel, POLICY_V1 } from "./policy-v1.ts";

it.each([
  ["cpu.mhz", "AtLeast", ["3000"], "host.cpu.mhz >= 3000"],
  ["cpu.mhz", "AtMost", ["2.5e3"], "host.cpu.mhz <= 2500"],
  ["cpu.cores", "In", ["8", "16"], "host.cpu.cores in [8, 16]"],
  ["memory.bytes", "AtLeast", ["64Gi"], 'host.memory.bytes >= quantity("64Gi")'],
  ["power.idleWatts", "AtMost", ["60"], "host.power.idleWatts <= 60.0"],
  ["disk.ssd", "In", ["true"], "host.disk.ssd"],
  ["disk.ssd", "NotIn", ["true"], "!host.disk.ssd"],
  ["disk.ssd", "In", ["yes"], "false"],
  ["disk.ssd", "In", ["true", "false"], "host.disk.ssd in [true, false]"],
  ["cpu.model", "In", ['Xeon "E5"'], 'host.cpu.model == "Xeon \\"E5\\""'],
  ["site", "NotIn", ["a"], 'host.site != "a"'],
  ["name", "NotIn", ["a", "b"], '!(host.name in ["a", "b"])'],
])("%s %s %j becomes %s", (attribute, operator, values, expected) => {
  expect(inCel({ attribute, operator, values })).toBe(expected);
  expect(inCel({ attribute, operator: "Near", values })).toEqual({ attribute, operator: "Near", values });
  expect(problemOf(expected)).toBeUndefined();
});

/** What v1 did, by its own words. */
interface RuleV1 {
  attribute: string;
  operator: "In" | "NotIn" | "AtLeast" | "AtMost";
  values: string[];
}
const OF: Record<string, (host: HostView) => string | number | undefined> = {
  name: ({ name }) => name,
  site: ({ site }) => site,
  rack: ({ rack }) => rack,
  "cpu.model": ({ cpuModel }) => cpuModel,
  "cpu.cores": ({ cores }) => cores,
  "cpu.mhz": ({ mhz }) => mhz,
  "memory.bytes": ({ memoryBytes }) => memoryBytes,
  "disk.ssd": ({ ssd }) => String(ssd),
  "link.mbps": ({ linkMbps }) => linkMbps,
  "power.idleWatts": ({ idleWatts }) => idleWatts,
  "power.maxWatts": ({ maxWatts }) => maxWatts,
  accelerator: ({ accelerator }) => accelerator,
};
function kept({ attribute, operator, values }: RuleV1, host: HostView): boolean {
  const value = OF[attribute]?.(host);
  if (value === undefined) return false;
  const [first = ""] = values;
  const limit = /^\d+(\.\d+)?[A-Z]i?$/i.test(first) ? parseBytes(first) : Number(first);
  if (operator === "AtLeast") return Number(value) >= limit;
  if (operator === "AtMost") return Number(value) <= limit;
  return values.includes(String(value)) === (operator === "In");
}

const NUMERIC = Object.keys(OF).filter((each) => /cores|mhz|bytes|mbps|Watts/.test(each));
const anyNumber = fc.oneof(
  fc.integer({ min: -10, max: 10_000 }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("1e21", "1e+21", "-1e30", "08", "8.0", " 8 ", "0x10", "9223372036854775808", "0.1"),
);
const anySize = fc.constantFrom("64Gi", "1.5Gi", "8191Ti", "68719476736", "0");
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("a", "b", "host-1", "true"),
);
const anyRule: fc.Arbitrary<RuleV1> = fc.oneof(
  fc.record({
    attribute: fc.constantFrom(...Object.keys(OF)),
    operator: fc.constantFrom("In" as const, "NotIn" as const),
    values: fc.oneof(
      fc.array(fc.oneof(text, anyNumber, anySize), { minLength: 1, maxLength: 5 }),
      fc
        .integer({ min: 50, max: 2000 })
        .map((count) => Array.from({ length: count }, (_, i) => `host-${i}.example.org`)),
    ),
  }),
  fc.constantFrom(...NUMERIC).chain((attribute) =>
    fc.record({
      attribute: fc.constant(attribute),
      operator: fc.constantFrom("AtLeast" as const, "AtMost" as const),
      values: fc.tuple(attribute === "memory.bytes" ? anySize : fc.oneof(anyNumber, fc.constant("3000"))),
    }),
  ),
);
const anyName = fc.oneof(fc.constantFrom("a", "b", "host-1", "host-49.example.org", "host-1500.example.org"));
const watts = fc.option(
  fc.oneof(fc.constantFrom(8, 60, 0.1, 1e21, 5e-7), fc.double({ min: 0, max: 1e22, noNaN: true })),
  {
    nil: undefined,
  },
);
const anyHost = fc.record({
  name: anyName,
  site: anyName,
  rack: anyName,
  cpuModel: anyName,
  cores: fc.constantFrom(1, 8, 16, 64),
  mhz: fc.oneof(fc.constantFrom(3000, 8), fc.integer({ min: 1, max: 5000 })),
  memoryBytes: fc.constantFrom(2 ** 30, 2 ** 36, 2 ** 53 - 1),
  ssd: fc.boolean(),
  linkMbps: fc.integer({ min: 1, max: 100_000 }),
  idleWatts: watts,
  maxWatts: watts,
  accelerator: fc.constantFrom("kvm", "tcg"),
});

const MACHINE = { name: "m", namespace: "default", labels: {}, cpus: 1, memoryBytes: 1, needs: undefined };

it("any valid policy of v1 is one of v2, whose rules the same hosts keep", () => {
  fc.assert(
    fc.property(
      fc.array(anyRule, { minLength: 1, maxLength: 70 }),
      fc.array(anyHost, { minLength: 1, maxLength: 5 }),
      (rules, hosts) => {
        const old: Resource = {
          apiVersion: "vireo.dev/v1",
          kind: "Policy",
          metadata: { name: "p", namespace: "default" },
          spec: {
            selector: {},
            goal: "balanced",
            priority: 0,
            automation: "act",
            required: rules,
            preferred: rules.map((rule) => ({ rule, weight: 1 })),
          },
        };
        const { metadata: _, apiVersion: _v, kind: _k, ...rest } = POLICY_V1.toStored(old);
        expect(validate(rest, Policy.schema)).toEqual([]);
        const { required = [] } = rest.spec as Policy["spec"];
        expect(required).toHaveLength(rules.length);
        for (const [i, made] of required.entries())
          for (const host of hosts) {
            const [view, rule] = [host as HostView, rules[i] as RuleV1];
            expect([made.slice(0, 200), isKept(made, view, MACHINE)]).toEqual([
              made.slice(0, 200),
              kept(rule, view),
            ]);
          }
      },
    ),
    { numRuns: 60 },
  );
});

describe("a rule of v1 that is longer than one may be now", () => {
  const names = Array.from({ length: 300 }, (_, i) => `host-${i}.example.org`);
  const long = String(inCel({ attribute: "name", operator: "NotIn", values: names }));
  const policy = (required: string[]) =>
    ({
      metadata: { name: "p" },
      spec: { selector: {}, priority: 0, automation: "act", required },
    }) as unknown as Policy;

  it("holds on, and hinders no other change of its policy", () => {
    const before = policy([...Array(60).keys()].map((i) => `host.name != "x${i}"`).concat(long));
    const after = structuredClone(before);
    after.spec.priority = 1;
    after.spec.required?.pop();
    after.spec.required?.push(long);
    expect(checkPolicy(after, before)).toEqual([]);
  });

  it("is not written anew, nor are more than fifty", () => {
    expect(checkPolicy(policy([long]), undefined)).toMatchObject([
      { field: "spec.required[0]", message: expect.stringContaining("a rule has 1000 at most") },
    ]);
    const many = [...Array(51).keys()].map((i) => `host.name != "x${i}"`);
    expect(checkPolicy(policy(many), undefined)).toMatchObject([
      { field: "spec.required", message: "Too many: 51: must have at most 50 items" },
    ]);
  });
});
