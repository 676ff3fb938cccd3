/** Rules that exclude each other are found, and no policy that may be written makes that a long search: what is looked at is counted. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Lookup } from "../../resource/kind.ts";
import { checkPolicy, warnPolicy } from "../checks.ts";
import type { MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { hostView } from "../testing/views.ts";
import { againstOthers } from "./against-others.ts";
import { contradicted } from "./contradicted.ts";
import { contradictions, contradictionsBetween, WORK_OF_A_WRITE } from "./contradictions.ts";
import { expressionOf, isAtHand } from "./expressions.ts";

const policy = (name: string, required: string[], more: Partial<Policy["spec"]> = {}): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: { selector: { matchLabels: { app: "web" } }, automation: "act", priority: 0, required, ...more },
});
const lookup = (...policies: Policy[]): Lookup => ({
  // Nothing else is looked up.
  list: <T>() => policies as unknown as readonly T[],
});
const machine = (name: string): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app: "web" },
  cpus: 1,
  memoryBytes: 2 ** 30,
  movable: true,
  since: 0,
});
const without = (from: number) =>
  Array.from({ length: 33 }, (_, i) => `host.cpu.mhz != ${from + i}`).join(" && ");
/** As long as a policy may be. */
const long = (nth: number) =>
  Array.from({ length: 50 }, (_, rule) => without(100_000 + nth * 5000 + rule * 40));
const PLENTY = () => ({ left: Number.POSITIVE_INFINITY });
const count = (act: (work: { left: number }) => void) => {
  const work = { left: 0 };
  act(work);
  return -work.left;
};

describe("what is found", () => {
  it("is what no value keeps, and all of that, of rules that compare one attribute with constants", () => {
    const whole = fc.integer({ min: 2, max: 6 });
    const op = fc.constantFrom("==", "!=", "<", "<=", ">", ">=");
    const not = fc.boolean();
    const numbers = (of: string, end: string) =>
      fc.oneof(
        fc.tuple(op, whole).map(([is, to]) => `${of} ${is} ${to}${end}`),
        fc.tuple(op, whole).map(([is, to]) => `${to}${end} ${is} ${of}`),
        fc
          .array(whole, { minLength: 1, maxLength: 3 })
          .map((all) => `${of} in [${all.map((to) => to + end)}]`),
      );
    const words = fc.constantFrom("a", "b", "c");
    const part = fc.oneof(
      numbers("host.cpu.cores", ""),
      numbers("host.power.maxWatts", ".0"),
      fc.tuple(fc.constantFrom("==", "!="), words).map(([is, to]) => `host.site ${is} "${to}"`),
      fc.tuple(op, whole, whole).map(([is, a, b]) => `${a} ${is} ${b}`),
      fc.array(words, { minLength: 1, maxLength: 2 }).map((all) => `host.site in ${JSON.stringify(all)}`),
      fc.constantFrom("host.disk.ssd", "host.disk.ssd == false", "host.disk.ssd != false"),
    );
    const rule = fc
      .array(fc.tuple(not, part), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.map(([is, text]) => (is ? `!(${text})` : text)).join(" && "));
    const hosts = Array.from({ length: 8 }, (_, i) => i + 1).flatMap((cores) =>
      ["a", "b", "c", "d"].flatMap((site) =>
        [true, false].flatMap((ssd) =>
          Array.from({ length: 13 }, (_, i) => hostView("x", { cores, site, ssd, maxWatts: 1 + i / 2 })),
        ),
      ),
    );
    const seen = { apart: 0, together: 0 };
    fc.assert(
      fc.property(rule, rule, (one, other) => {
        const [a, b] = [expressionOf(one), expressionOf(other)];
        const keeps = (rule: typeof a) => hosts.filter((host) => rule.decide(host, machine("m")) === true);
        const [byOne, byOther] = [keeps(a), keeps(b)].map((all) => new Set(all));
        const both = hosts.some((host) => byOne?.has(host) && byOther?.has(host));
        if (both) seen.together++;
        else seen.apart++;
        expect([one, other, contradictions([one, other]).length === 0]).toEqual([one, other, both]);
        const alone = byOne?.size && byOther?.size;
        const between = contradictionsBetween([one], [other], PLENTY());
        // What cannot be kept by itself is not told of two.
        if (alone) expect([one, other, between.length === 0]).toEqual([one, other, both]);
      }),
      { numRuns: 150, seed: 3 },
    );
    expect(Math.min(seen.apart, seen.together)).toBeGreaterThan(20);
  });

  it.each([
    [['"avx512f" in host.cpu.flags', '!("avx512f" in host.cpu.flags)'], [[0, 1]]],
    [['"uefi" in host.offers && !("uefi" in host.offers)'], [[0, 0]]],
    [["has(host.power.idleWatts)", "!has(host.power.idleWatts)"], [[0, 1]]],
    [["host.power.idleWatts < 60.0", "!has(host.power.idleWatts)"], [[0, 1]]],
    [['host.labels.tier == "gold"', '!("tier" in host.labels)'], [[0, 1]]],
    [['!(host.labels.tier == "gold")', "!has(host.labels.tier)"], [[0, 1]]],
    [['host.name.startsWith("a")', '!( host.name.startsWith( "a" ))'], [[0, 1]]],
    [["host.cpu.cores >= machine.cpus * 2", "!(host.cpu.cores >= machine.cpus * 2)"], [[0, 1]]],
    [["host.cpu.mhz > 3000 || host.cpu.cores > 8", "host.cpu.mhz < 2000 && host.cpu.cores < 4"], [[0, 1]]],
    [
      ["host.disk.ssd || has(host.feed)", "!host.disk.ssd", "host.cpu.mhz > 1", "!has(host.feed)"],
      [[0, 1, 3]],
    ],
    [["!(host.disk.ssd && host.memory.ecc) && host.disk.ssd && host.memory.ecc"], [[0, 0]]],
    [
      ["host.cpu.cores in [1, 2]", "host.disk.ssd", "host.cpu.cores != 1", "host.cpu.cores != 2"],
      [[0, 2, 3]],
    ],
    [["host.cpu.cores >= machine.cpus * 2", "machine.cpus * 2 > host.cpu.cores"], [[0, 1]]],
    [["host.site == host.rack", "host.disk.ssd", "host.rack != host.site"], [[0, 2]]],
    [['host.name.startsWith("fast")', 'host.name == "frugal-1"'], [[0, 1]]],
    [
      ['host.name.startsWith("fast")', 'host.name.startsWith("fa")', 'host.name.startsWith("frugal")'],
      [
        [0, 2],
        [1, 2],
      ],
    ],
    [['host.name.endsWith("-1") && host.name.endsWith("-2")'], [[0, 0]]],
    [['host.name.startsWith("fast-1")', '!host.name.contains("t-")'], [[0, 1]]],
    [['host.name.startsWith("c")', 'host.name < "b"'], [[0, 1]]],
    [['host.name.startsWith("a")', '"b" <= host.name'], [[0, 1]]],
    [['host.name < "b"', 'host.name > "c"'], [[0, 1]]],
    [['host.name >= "b"', 'host.name <= "b"', '!host.name.endsWith("b")'], [[0, 1, 2]]],
    [['host.name < ""'], [[0, 0]]],
    [["1 == 2"], [[0, 0]]],
    [["host.disk.ssd", '!("a" < "b")'], [[1, 1]]],
    [['quantity("1Gi") > quantity("2Gi")'], [[0, 0]]],
    [["false"], [[0, 0]]],
    [["host.disk.ssd", "!true"], [[1, 1]]],
    // These may hold.
    [["!has(host.power.idleWatts)", "host.power.maxWatts < 60.0", "true"], []],
    [['!has(host.feed) || host.feed == "a"', 'host.feed != "b"'], []],
    [['"tier" in host.labels', '!("zone" in host.labels)', 'host.labels.tier != "gold"'], []],
    [["host.disk.ssd || host.memory.ecc", "!host.disk.ssd"], []],
    [['host.name.startsWith("a")', '!host.name.startsWith("b")'], []],
    [['host.name.startsWith("ab")', '!host.name.startsWith("abc")', 'host.name > "aba"'], []],
    [['host.name.startsWith("ab")', 'host.name.endsWith("bc")', '!host.name.contains("bb")'], []],
    [['host.name.startsWith("b")', 'host.name <= "b"'], []],
    [["host.cpu.cores >= machine.cpus", "machine.cpus >= host.cpu.cores"], []],
    [["1 < 2", '"a" != "b"', "host.disk.ssd"], []],
  ])("in %j is %j", (rules, found) => {
    expect(contradictions(rules)).toEqual(found);
  });

  it("is never said of rules that a host keeps", () => {
    const part = fc.constantFrom(
      ...[
        "host.disk.ssd",
        "has(host.feed)",
        'host.feed == "a"',
        'host.feed in ["a", "b"]',
        "host.cpu.cores > 2",
      ],
      ...[
        '"tier" in host.labels',
        'host.labels.tier == "gold"',
        'host.labels["tier"] != "iron"',
        "host.cpu.cores == 2",
      ],
      ...['"uefi" in host.offers', 'host.name.startsWith("x")', "host.cpu.cores * 2 == 4", "true", "false"],
      ...[
        'host.name < "y"',
        'host.name.contains("y")',
        "host.name > host.rack",
        "host.name == host.rack",
        "2 > 1",
      ],
    );
    const rule = fc.letrec<{ rule: string }>((tie) => ({
      rule: fc.oneof(
        { depthSize: "small" },
        part,
        tie("rule").map((of) => `!(${of})`),
        fc
          .tuple(tie("rule"), fc.constantFrom("&&", "||"), tie("rule"))
          .map(([a, is, b]) => `(${a}) ${is} (${b})`),
      ),
    })).rule;
    const labelled: (Record<string, string> | undefined)[] = [undefined, { tier: "gold" }, { tier: "iron" }];
    const hosts = labelled.flatMap((labels) =>
      [undefined, "a", "c"].flatMap((feed) =>
        [true, false].flatMap((ssd) =>
          [2, 3].map((cores) =>
            hostView(ssd ? "x" : "y", {
              ...{ ssd, cores, has: { offers: ssd ? ["uefi"] : [] } },
              ...(feed ? { feed } : {}),
              ...(labels ? { labels } : {}),
            }),
          ),
        ),
      ),
    );
    const seen = { none: 0, some: 0 };
    fc.assert(
      fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), (rules) => {
        const all = rules.map((text) => expressionOf(text));
        const kept = hosts.some((host) => all.every((each) => each.decide(host, machine("m")) === true));
        const found = contradictions(rules);
        seen[found.length > 0 ? "some" : "none"]++;
        if (kept) expect([rules, found]).toEqual([rules, []]);
        for (const group of found) {
          const named = group.map((i) => all[i]);
          const byThese = hosts.some((host) =>
            named.every((each) => each?.decide(host, machine("m")) === true),
          );
          expect([rules, group, byThese]).toEqual([rules, group, false]);
        }
      }),
      { numRuns: 500, seed: 7 },
    );
    expect(Math.min(seen.none, seen.some)).toBeGreaterThan(50);
  });

  it("is never said of texts that a host keeps, and mostly of those that none does", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 3 }).map((to) => JSON.stringify(to));
    const part = fc.oneof(
      fc
        .tuple(fc.constantFrom("==", "!=", "<", "<=", ">", ">="), text)
        .map(([is, to]) => `host.site ${is} ${to}`),
      fc
        .tuple(fc.constantFrom("startsWith", "endsWith", "contains"), text)
        .map(([is, to]) => `host.site.${is}(${to})`),
    );
    const rule = fc.tuple(fc.boolean(), part).map(([is, of]) => (is ? `!(${of})` : of));
    const texts = [""];
    for (const each of texts) if (each.length < 5) texts.push(`${each}a`, `${each}b`, `${each}c`);
    const hosts = texts.map((site) => hostView("x", { site }));
    const seen = { kept: 0, found: 0, missed: 0 };
    fc.assert(
      fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), (rules) => {
        const all = rules.map((of) => expressionOf(of));
        const kept = hosts.some((host) => all.every((each) => each.decide(host, machine("m")) === true));
        const found = contradictions(rules).length > 0;
        expect([rules, kept && found]).toEqual([rules, false]);
        seen[kept ? "kept" : found ? "found" : "missed"]++;
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(seen.kept).toBeGreaterThan(50);
    expect(seen.found).toBeGreaterThan(10 * seen.missed);
  });

  it("is not said of a rule that is the same everywhere, of which the writer is warned", () => {
    const of = policy("a", ["1 < 2", "host.disk.ssd"], { preferred: [{ rule: '"a" == "b"', weight: 1 }] });
    expect(checkPolicy(of, undefined)).toEqual([]);
    expect(warnPolicy(of, undefined, lookup())).toEqual([
      "spec.required[0]: 1 < 2 speaks of no attribute of host or machine, so that it is the same everywhere",
      'spec.preferred[0].rule: "a" == "b" speaks of no attribute of host or machine, so that it is the same everywhere',
    ]);
    expect(warnPolicy({ ...of, spec: { ...of.spec, priority: 2 } }, of, lookup())).toEqual([]);
  });

  it("takes no longer than a write may where all have to be looked at again and again", () => {
    const most = (rule: number) =>
      Array.from({ length: 16 }, (_, i) => `host.cpu.cores != ${rule * 16 + i}`).join(" && ");
    const many = Array.from({ length: 48 }, (_, i) => most(i));
    const choice = Array.from({ length: 30 }, (_, i) => `host.cpu.cores == ${i}`).join(" || ");
    const rules = [...many, "host.cpu.cores >= 0 && host.cpu.cores < 768", choice];
    const work = { left: WORK_OF_A_WRITE };
    expect(contradictions(rules, work).length).toBeGreaterThan(0);
    expect(work.left).toBeGreaterThan(-WORK_OF_A_WRITE / 10);
    const [cause] = checkPolicy(policy("a", rules), undefined);
    expect(cause?.message).toMatch(/can never hold together with/);
  });

  it("is not said of numbers that are not kept to the digit", () => {
    const rules = ["host.memory.bytes >= 9007199254740992 && host.memory.bytes < 9007199254740993"];
    expect(contradictions(rules)).toEqual([]);
    expect(contradictions(['host.memory.bytes > quantity("16Pi") && host.memory.bytes != 1'])).toEqual([]);
  });

  it("is few of two policies of which each rule excludes each", () => {
    const slow = Array.from({ length: 50 }, (_, i) => `host.cpu.mhz < ${i + 1}`);
    const fast = Array.from({ length: 50 }, (_, i) => `host.cpu.mhz > ${i + 100}`);
    expect(contradictionsBetween(slow, fast, PLENTY())).toHaveLength(5);
    expect(warnPolicy(policy("a", slow), undefined, lookup(policy("b", fast)))).toHaveLength(5);
  });
});

describe("what is looked at", () => {
  it("is little of a policy with as many conditions as one may have, and of others like it", () => {
    const rules = long(0);
    expect(checkPolicy(policy("a", rules), undefined)).toEqual([]);
    // Each rule with each, once.
    expect(count((work) => contradictions(rules, work))).toBeLessThan(50 * 50);
    const own = policy("a", rules);
    const all = lookup(...Array.from({ length: 6 }, (_, i) => policy(`b${i}`, long(i + 1))));
    // They are read once.
    expect(againstOthers(own, all, PLENTY())).toEqual([]);
    const work = { left: 1000 };
    expect(againstOthers(own, all, work)).toEqual([]);
    expect(work.left).toBeGreaterThan(0);
  });

  it("ends with a write's share, and the writer is told of what was not compared", () => {
    const others = Array.from({ length: 40 }, (_, i) => policy(`b${i}`, long(i + 101)));
    const work = { left: WORK_OF_A_WRITE };
    const [told, ...more] = againstOthers(policy("a", ["host.disk.ssd"]), lookup(...others), work);
    expect(more).toEqual([]);
    expect(told).toMatch(
      /^policy "b0", policy "b1", policy "b2", … \(40 policies\): too many rules to compare with this policy's while it is written, .*\(Contradicted\)/,
    );
    // No more than one policy was read beyond it.
    expect(work.left).toBeGreaterThan(-2 * WORK_OF_A_WRITE);
  });

  it("ends with a round's share, which is told with what was found; the next round goes on", () => {
    const policies = [
      policy("a", ["host.disk.ssd"]),
      policy("b", ["!host.disk.ssd"]),
      ...Array.from({ length: 4 }, (_, i) => policy(`c${i}`, long(i + 50))),
      policy("d", ["host.cpu.mhz == 250000"]),
    ];
    for (const rule of policies.flatMap(({ spec }) => spec.required ?? [])) expressionOf(rule);
    const estate = { hosts: [hostView("x")], machines: [machine("m")], policies, odd: [] };
    const named = (left: number) => {
      const told = contradicted(estate, { left });
      return policies.map((each) => told.get(each)?.length ?? 0);
    };
    expect(named(150)).toEqual([2, 2, 0, 0, 0, 0, 0]);
    for (let round = 0; round < 10; round++) named(1000);
    expect(named(1000)).toEqual([1, 1, 0, 0, 0, 0, 0]);
  });
});

it("a rule that is only written, and perhaps refused, is not kept in memory; one that is stored is", () => {
  const rules = ["host.cpu.mhz > 4711", "host.cpu.mhz < 815 + 1"];
  const own = policy("a", rules);
  const other = policy("b", ["host.cpu.mhz < 4712"]);
  expect(checkPolicy(own, undefined)).toEqual([]);
  expect(warnPolicy(own, undefined, lookup(other))).toHaveLength(1);
  expect([...rules, ...(other.spec.required ?? [])].map(isAtHand)).toEqual([false, false, true]);
});
