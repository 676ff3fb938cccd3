/** Rules that contradict each other: of one policy and of two, when they are written and with the machines that are there. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { INVALID } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { checkPolicy, warnPolicy } from "../checks.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { hostView } from "../testing/views.ts";
import { contradicted } from "./contradicted.ts";
import { obstacle } from "./rules.ts";

const policy = (
  name: string,
  spec: Partial<Policy["spec"]>,
  labels: Record<string, string> = { app: "web" },
  namespace = "default",
): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace },
  spec: { selector: { matchLabels: labels }, automation: "act", priority: 0, ...spec },
});
const lookup = (...policies: Policy[]): Lookup => ({
  // Nothing else is looked up.
  list: <T>() => policies as unknown as readonly T[],
});
const refused = (own: Policy) =>
  checkPolicy(own, undefined).map(({ field, message }) => `${field}: ${message}`);
const warned = (own: Policy, ...others: Policy[]) => warnPolicy(own, undefined, lookup(...others));

const SSD = { required: ["host.disk.ssd"] };
const NO_SSD = { required: ['host.site == "north"', "!host.disk.ssd"] };

describe("of one policy", () => {
  it.each([
    [{ keepTogether: "host", keepApart: "host" }, "spec.keepApart", '"host"'],
    [{ keepTogether: "rack", keepApart: "site" }, "spec.keepApart", '"site"'],
    [
      { keepTogether: "host", atMost: { per: "feed", machines: 1 } },
      "spec.atMost",
      '{"per":"feed","machines":1}',
    ],
  ] as const)("refuses %j", (spec, field, value) => {
    const together = `can never hold together with spec.keepTogether, which puts all on one ${spec.keepTogether}`;
    expect(refused(policy("a", spec))).toEqual([`${field}: Invalid value: ${value}: ${together}`]);
  });

  it.each([
    { keepTogether: "rack", spread: "host" },
    { keepTogether: "site", atMost: { per: "rack", machines: 1 } },
    { keepTogether: "host", atMost: { per: "host", machines: 2 } },
    { keepApart: "host", spread: "rack", atMost: { per: "site", percent: 50 } },
  ] as const)("takes %j", (spec) => {
    expect(refused(policy("a", spec))).toEqual([]);
    expect(warned(policy("a", spec))).toEqual([]);
  });

  it("takes what holds where there is one place only, with a warning", () => {
    const own = policy("a", { keepTogether: "host", spread: "site" });
    expect(refused(own)).toEqual([]);
    expect(warned(own)).toEqual([
      "spec.spread (site) can hold together with spec.keepTogether (host) only where there is but one site",
    ]);
    const machines = ["m", "n"].map((name) => machine(name, { app: "web" }, "x"));
    const estate: Estate = { hosts: [host("x"), host("y")], machines, policies: [own], odd: [] };
    expect(machines.map((each) => obstacle(estate, each, host("x")))).toEqual([undefined, undefined]);
    expect(warned(policy("a", { keepTogether: "host", keepApart: "rack" }))).toEqual([]);
  });

  it("does not hold what was stored before against who changes something else", () => {
    const old = policy("a", { keepTogether: "host", keepApart: "host" });
    const next = policy("a", { keepTogether: "host", keepApart: "host", priority: 7 });
    expect(checkPolicy(next, old)).toEqual([]);
    const worse = policy("a", { keepTogether: "host", keepApart: "rack" });
    expect(checkPolicy(worse, old)).toHaveLength(1);
  });
});

describe("of two policies, when one is written", () => {
  it("takes one of which no machine could be placed, with a warning that names both rules: it may come first again", () => {
    expect(refused(policy("b", NO_SSD))).toEqual([]);
    expect(warned(policy("b", NO_SSD), policy("a", SSD))).toEqual([
      'policy "a", spec.required[0] (host.disk.ssd): can never hold together with spec.required[1] (!host.disk.ssd) of this policy; it chooses all machines that this policy does, and there is no host for any of them',
    ]);
    const wide = policy("b", NO_SSD, {});
    expect(warned(wide, policy("a", SSD))[0]).toMatch(
      /^policy "a", .* of this policy; this policy chooses all of its machines, and there is no host for any of them$/,
    );
    const narrow = policy("b", NO_SSD, { app: "web", tier: "x" });
    expect(warned(narrow, policy("a", SSD))[0]).toMatch(/it chooses all machines that this policy does/);
  });

  it("tells of long rules how they begin, so that there is room for both", () => {
    const long = (ssd: string) => ({
      required: [`${ssd}\n&& host.name != "${"x".repeat(300)}"`],
    });
    const [warning] = warned(policy("b", long("!host.disk.ssd")), policy("a", long("host.disk.ssd")));
    expect(warning).toBe(
      `policy "a", spec.required[0] (host.disk.ssd && host.name != "${"x".repeat(18)}…): can never hold together with spec.required[0] (!host.disk.ssd && host.name != "${"x".repeat(17)}…) of this policy; it chooses all machines that this policy does, and there is no host for any of them`,
    );
    expect(warning?.length).toBeLessThan(300);
  });

  it("takes one whose machines are others', or may be", () => {
    const own = policy("b", NO_SSD);
    for (const other of [
      policy("a", SSD, { app: "db" }),
      policy("a", SSD, { tier: "x" }),
      policy("b", SSD),
    ]) {
      expect(warned(own, other)).toEqual([]);
    }
    const going = policy("a", SSD);
    going.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
    expect(warned(own, going)).toEqual([]);
    // It cannot be read: nobody knows what it wants.
    const odd = { ...policy("a", SSD), metadata: { name: "a", annotations: { [INVALID]: "spec: odd" } } };
    expect(warned(own, odd)).toEqual([]);
  });

  it("warns of a change of one that has to do with it, too", () => {
    const [other, old, own] = [policy("a", SSD), policy("b", SSD), policy("b", NO_SSD)];
    expect(checkPolicy(own, old)).toEqual([]);
    expect(warnPolicy(own, old, lookup(other))).toHaveLength(1);
    const same = policy("b", { ...NO_SSD, priority: 3 });
    expect(warnPolicy(same, own, lookup(other))).toEqual([]);
  });

  it("warns of those that keep machines together and apart: one of them can be placed", () => {
    const [apart, together] = [policy("a", { keepApart: "rack" }), policy("b", { keepTogether: "host" })];
    expect(warned(together, apart)).toEqual([
      'policy "a", spec.keepApart (rack): can never hold together with spec.keepTogether (host) of this policy; it chooses all machines that this policy does, and two of them cannot both be placed',
    ]);
    expect(warned(apart, together)).toEqual([
      'policy "b", spec.keepTogether (host): can never hold together with spec.keepApart (rack) of this policy; it chooses all machines that this policy does, and two of them cannot both be placed',
    ]);
    expect(warned(policy("b", { keepTogether: "rack" }), policy("a", { keepApart: "host" }))).toEqual([]);
    expect(warned(together, policy("a", { atMost: { per: "host", machines: 1 } }))).toHaveLength(1);
    expect(warned(together, policy("a", { atMost: { per: "host", machines: 2 } }))).toEqual([]);
  });

  it("of shares and of spreading counts that the other may choose more machines", () => {
    const together = policy("b", { keepTogether: "host" });
    for (const spec of [{ spread: "host" }, { atMost: { per: "host", percent: 50 } }] as const) {
      expect(warned(together, policy("a", spec))).toHaveLength(1);
      expect(warned(together, policy("a", spec, { app: "web", tier: "x" }))).toHaveLength(1);
      expect(warned(together, policy("a", spec, {}))).toEqual([]);
      expect(warned(policy("a", spec, {}), together)).toEqual([]);
      expect(warned(policy("a", spec), together)).toHaveLength(1);
    }
  });

  it("warns of wanting hosts for itself that are dedicated to machines of others", () => {
    const wants = (...owners: string[]) => ({ required: [`host.dedicatedTo in ${JSON.stringify(owners)}`] });
    expect(warned(policy("a", wants("default/db")), policy("db", {}, { app: "db" }))).toEqual([
      'policy default/db: hosts dedicated to it take only machines that it chooses, and it chooses none of this policy\'s: spec.required[0] (host.dedicatedTo in ["default/db"]) can never hold',
    ]);
    expect(warned(policy("a", wants("shop/a")))).toHaveLength(1);
    expect(warned(policy("a", wants("default/a")))).toEqual([]);
    expect(warned(policy("a", wants("", "default/db")), policy("db", {}, { app: "db" }))).toEqual([]);
    // One that is made later may choose them.
    expect(warned(policy("a", wants("default/later")))).toEqual([]);
    expect(warned(policy("a", wants("default/db")), policy("db", {}))).toEqual([]);
  });
});

const GiB = 2 ** 30;
const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, { cpus: 64, memoryBytes: 64 * GiB, ...more });
const machine = (name: string, labels: Record<string, string>, on?: string): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels,
  cpus: 1,
  memoryBytes: GiB,
  ...(on ? { host: on } : {}),
  movable: true,
  since: 0,
});
const told = (policies: Policy[], machines: MachineView[], hosts = [host("x"), host("y", { ssd: true })]) => {
  const found = contradicted({ hosts, machines, policies, odd: [] });
  return policies.map((each) => found.get(each) ?? []);
};
const BOTH = { app: "web", tier: "x" };

describe("with the machines that are there", () => {
  it("tells both policies of the rule of the other, and which machines cannot be placed for it", () => {
    const policies = [policy("a", SSD), policy("b", NO_SSD, { tier: "x" })];
    expect(told(policies, [machine("m", BOTH), machine("n", { app: "web" })])).toEqual([
      [
        'spec.required[0] (host.disk.ssd) can never hold together with spec.required[1] (!host.disk.ssd) of policy "b", for m',
      ],
      [
        'spec.required[1] (!host.disk.ssd) can never hold together with spec.required[0] (host.disk.ssd) of policy "a", for m',
      ],
    ]);
    expect(told(policies, [machine("m", { app: "web" }), machine("n", { tier: "x" })])).toEqual([[], []]);
  });

  it("counts machines, and places, where it is about several", () => {
    const policies = [policy("a", { keepTogether: "host" }), policy("b", { spread: "host" }, { tier: "x" })];
    const machines = [machine("m", BOTH), machine("n", BOTH)];
    expect(told(policies, machines)[0]).toEqual([
      'spec.keepTogether (host) can never hold together with spec.spread (host) of policy "b", for m, n',
    ]);
    expect(told(policies, machines, [host("x")])).toEqual([[], []]);
    expect(told(policies, machines.slice(1))).toEqual([[], []]);
    // A third may be on the other host.
    expect(told(policies, [...machines, machine("o", { tier: "x" })])).toEqual([[], []]);
    const most = [
      policy("a", { keepTogether: "host" }),
      policy("b", { atMost: { per: "host", machines: 2 } }),
    ];
    const many = Array.from({ length: 5 }, (_, i) => machine(`m${i}`, BOTH));
    expect(told(most, many)[1]).toEqual([
      'spec.atMost (2 per host) can never hold together with spec.keepTogether (host) of policy "a", for m0, m1, m2, … (5 machines)',
    ]);
    expect(told(most, many.slice(3))).toEqual([[], []]);
  });

  it("tells of machines that are kept together and of which others want what no one place has", () => {
    const together = policy("all", { keepTogether: "host" }, {});
    const policies = [together, policy("a", SSD), policy("b", NO_SSD, { app: "db" })];
    const machines = [machine("m", { app: "web" }), machine("n", { app: "db" })];
    expect(told(policies, machines)[0]).toEqual([
      'spec.keepTogether (host) can never hold: policy "a" wants host.disk.ssd (spec.required[0]) for m, and policy "b" !host.disk.ssd (spec.required[1]) for n',
    ]);
    // Two hosts of a rack may differ in their disks, not in their site.
    const inRack = { ...together, spec: { ...together.spec, keepTogether: "rack" as const } };
    expect(told([inRack, ...policies.slice(1)], machines)[0]).toEqual([]);
    const south = policy("a", { required: ['host.site == "south"'] });
    expect(told([inRack, south, policies[2] as Policy], machines)[0]).toHaveLength(1);
  });

  it("tells nothing of rules about machines that are kept together: each is judged by itself", () => {
    const together = policy("all", { keepTogether: "host" }, {});
    const small = policy("a", { required: ["machine.cpus < 4"] });
    const large = policy("b", { required: ["machine.cpus >= 4"] }, { app: "db" });
    const machines = [machine("m", { app: "web" }), { ...machine("n", { app: "db" }), cpus: 8 }];
    expect(told([together, small, large], machines)).toEqual([[], [], []]);
    expect(
      told([together, small, policy("b", { required: ["machine.cpus >= 4"] })], machines)[1],
    ).toHaveLength(1);
  });

  it("names the first machines of the estate, whatever else chooses them", () => {
    const policies = [policy("a", SSD, {}), policy("b", NO_SSD, {}), policy("c", {}, { app: "db" })];
    const machines = ["db", "web", "db", "web", "db"].map((app, i) => machine(`m${i}`, { app }));
    expect(told(policies, machines)[0]?.[0]).toMatch(/, for m0, m1, m2, … \(5 machines\)$/);
    expect(told(policies, machines.slice(1, 4))[0]?.[0]).toMatch(/, for m1, m2, m3$/);
  });

  it("tells of dedicated hosts that do not take machines, or not those that they are kept together with", () => {
    const own = policy("a", { required: ['host.dedicatedTo == "default/a"'] });
    const machines = [machine("m", { app: "web" }), machine("n", { app: "db" })];
    const together = policy("all", { keepTogether: "host" }, {});
    expect(told([own, together], machines)).toEqual([
      [],
      [
        'spec.keepTogether (host) can never hold together with spec.required[0] (host.dedicatedTo == "default/a") of policy "a", for m and n: those hosts do not take the latter',
      ],
    ]);
    expect(told([own, together], machines.slice(0, 1))).toEqual([[], []]);
    const others = policy("b", { required: ['host.dedicatedTo == "default/a"'] }, {});
    expect(told([own, others], machines)[1]).toEqual([
      'spec.required[0] (host.dedicatedTo == "default/a") can never hold for n: hosts dedicated to default/a take only machines that it chooses',
    ]);
  });

  it("what it tells of can indeed not be, in any estate", () => {
    const seen = { contradicted: 0 };
    const level = fc.constantFrom("host" as const, "rack" as const, "site" as const);
    const rule = fc.constantFrom("host.disk.ssd", "!host.disk.ssd", 'host.site == "s0"', 'host.site != "s0"');
    const spec = fc.oneof(
      fc.record({ required: fc.array(rule, { minLength: 1, maxLength: 1 }) }),
      level.map((keepTogether) => ({ keepTogether })),
      level.map((keepApart) => ({ keepApart })),
      level.map((spread) => ({ spread })),
      fc.record({ per: level, machines: fc.integer({ min: 1, max: 2 }) }).map((atMost) => ({ atMost })),
      fc.record({ per: level, percent: fc.constantFrom(30, 50, 70) }).map((atMost) => ({ atMost })),
    );
    const labels = fc.constantFrom({ app: "web" }, { tier: "x" }, BOTH, BOTH, BOTH);
    const hosts = [0, 1, 2, 3].map((i) =>
      host(`h${i}`, { ssd: i % 2 === 0, rack: `r${i >> 1}`, site: `s${i === 3 ? 1 : 0}` }),
    );
    fc.assert(
      fc.property(spec, spec, fc.array(labels, { minLength: 2, maxLength: 4 }), (first, second, all) => {
        const policies = [policy("a", first), policy("b", second, { tier: "x" })];
        const machines = all.map((each, i) => machine(`m${i}`, each));
        if (told(policies, machines, hosts).flat().length === 0) return;
        seen.contradicted++;
        // Every way to place all of them.
        for (let way = 0; way < hosts.length ** machines.length; way++) {
          const placed = machines.map((each, i) => ({
            ...each,
            host: `h${Math.floor(way / hosts.length ** i) % hosts.length}`,
          }));
          const estate: Estate = { hosts, machines: placed, policies, odd: [] };
          const holds = placed.every(
            (each) => !obstacle(estate, each, hosts.find(({ name }) => name === each.host) as HostView),
          );
          expect(holds && way).toBe(false);
        }
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(seen.contradicted).toBeGreaterThan(20);
  });
});

describe("rules that allow but one place, beside what needs two", () => {
  const of = (spec: Partial<Policy["spec"]>) => warned(policy("a", spec));
  it.each([
    [
      { keepApart: "rack" },
      'host.rack == "r1"',
      /^spec.keepApart \(rack\) can hold for no two machines beside spec.required\[0\] \(host.rack == "r1"\), which allows but one rack$/,
    ],
    [{ keepApart: "host" }, 'host.name in ["h1"]', /^spec.keepApart \(host\) .* allows but one host$/],
    [{ keepApart: "site" }, 'host.site == "eu" && host.disk.ssd', /^spec.keepApart \(site\)/],
    [{ keepApart: "site" }, 'host.rack == "r1"', /^spec.keepApart \(site\) .* allows but one rack$/],
    [
      { atMost: { per: "site", machines: 1 } },
      'host.site == "eu"',
      /^spec.atMost \(1 per site\) can hold for no two/,
    ],
    [
      { failover: { per: "host", losses: 1 } },
      'host.name == "h1"',
      /^spec.failover \(per host\) can never hold beside .*: when that is lost there is no other$/,
    ],
    [
      { failover: { per: "site", losses: 1 } },
      'host.site == "eu"',
      /^spec.failover \(per site\) can never hold/,
    ],
  ] as const)("%j with %s is told", (spec, rule, words) => {
    expect(of({ ...spec, required: [rule] })).toEqual([expect.stringMatching(words)]);
    expect(refused(policy("a", { ...spec, required: [rule] }))).toEqual([]);
  });

  it("is told of machines that are there, once there are two", () => {
    const own = policy("a", { keepApart: "rack", required: ['host.rack == "r1"'] });
    const estate = (...names: string[]) => ({
      hosts: [hostView("h")],
      machines: names.map((name) => machine(name, { app: "web" })),
      policies: [own],
      odd: [],
    });
    expect(contradicted(estate("m")).get(own)).toBeUndefined();
    expect(contradicted(estate("m", "n")).get(own)).toEqual([
      expect.stringMatching(
        /^spec.keepApart \(rack\) can hold for no two machines beside spec.required\[0\]/,
      ),
    ]);
  });

  it.each([
    [{ keepApart: "host" }, 'host.rack == "r1"'],
    [{ keepApart: "rack" }, 'host.rack in ["r1", "r2"]'],
    [{ spread: "site" }, 'host.site == "eu"'],
    [{ atMost: { per: "site", machines: 2 } }, 'host.site == "eu"'],
    [{ failover: { per: "host", losses: 1 } }, 'host.site == "eu"'],
    [{ keepApart: "rack" }, 'host.rack != "r1"'],
  ] as const)("%j with %s may hold", (spec, rule) => {
    expect(of({ ...spec, required: [rule] })).toEqual([]);
  });
});
