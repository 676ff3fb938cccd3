/** Rule 5: what several components do at once, each allowed by itself, breaks no required rule together. On the real API and reconcilers. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { List, ListOptions } from "../../client/client.ts";
import { overriding } from "../../client/testing/overriding.ts";
import type { Host } from "../../compute/hosts/kinds.ts";
import { Instance, type VirtualMachine } from "../../compute/kinds.ts";
import { Migration } from "../../compute/migrations/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { declaredFacts, type Estate, NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import type { Kind } from "../../resource/kind.ts";
import { getCondition, type Resource } from "../../resource/object.ts";
import { makeEstate } from "../estate/estate.ts";
import { runPlanExecutor } from "../execution/executor.ts";
import { DOMAINS, Policy } from "../kinds.ts";
import { Plan } from "../planning/kinds.ts";
import { runScheduler } from "../planning/scheduler.ts";
import { checkRules } from "./last-word.ts";
import { obstacle } from "./rules.ts";

const vm = (name: string, labels: Record<string, string> = {}): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name, namespace: NS, uid: `uid-${name}`, labels },
  spec: {
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "i",
    storagePool: "p",
    networks: [],
    restart: "Always",
  },
});

describe("web-2 is bound to b while web-1 is moved there", () => {
  let estate: Estate;
  beforeEach(async () => {
    estate = await openEstate();
    await estate.hostFacts("a");
    await estate.hostFacts("b", { mhz: 3800 });
    await estate.client.create(Policy, {
      metadata: { name: "apart", namespace: NS },
      spec: { selector: {}, keepApart: "host", goals: [{ goal: "performance", weight: 1 }] },
    });
    await estate.runMachine("web-1", "a");
    await estate.createMachine("web-2");
    await estate.instance("web-2-1");
  });
  afterEach(() => estate.close());

  const plan = () =>
    estate.client.create(Plan, {
      metadata: { name: "p1" },
      spec: {
        trigger: "a test",
        automation: "act",
        moves: [{ namespace: NS, vm: "web-1", from: "a", to: "b", reason: "played", expected: "" }],
      },
    });
  const onB = async () =>
    (await estate.client.list(Instance)).items
      .filter(({ spec, status }) => spec.host === "b" && status?.custody !== "Released")
      .map(({ metadata }) => metadata.name);
  const context = (signal: AbortSignal, client = estate.client) => ({
    client,
    clock: systemClock,
    log: silentLogger,
    signal,
  });
  /** A client whose view of Instances and Migrations stays what it is now. */
  async function frozen() {
    const { client } = estate;
    const then = new Map<string, unknown>();
    then.set(Instance.kind, await client.list(Instance));
    then.set(Migration.kind, await client.list(Migration));
    return overriding(client, {
      list: async <T extends Resource>(kind: Kind<T>, options?: ListOptions) =>
        // Safe: it was listed of that kind.
        (then.get(kind.kind) as List<T> | undefined) ?? client.list(kind, options),
    });
  }

  it("the scheduler, which knows nothing of the move, is refused", async () => {
    const old = await frozen();
    const stop = new AbortController();
    await estate.client.create(Migration, {
      metadata: { name: "m", namespace: NS },
      spec: { vm: "web-1", to: "b" },
    });
    await estate.instance("web-1-2");
    const running = runScheduler(context(stop.signal, old));
    const scheduled = (i: Instance) => getCondition(i.status?.conditions, "Scheduled");
    const refused = await estate.instance("web-2-1", (i) => scheduled(i)?.status === "False", "refused");
    expect(scheduled(refused)?.message).toContain(
      'host b: policy "apart" keeps its machines on different hosts, web-1 is there',
    );
    expect(refused.spec.host).toBeUndefined();
    stop.abort();
    await running;
  });

  it("the move, whose plan was checked before, fails with the rule; its machine runs on", async () => {
    const stop = new AbortController();
    // The plan is checked on this, and the binding comes between.
    const old = await frozen();
    await estate.bind("web-2-1", "b");
    const running = runPlanExecutor(context(stop.signal, old), 50);
    await plan();
    const failed = await until("its end", async () => {
      const migration = await estate.client.get(Migration, { name: "p1-0", namespace: NS });
      return migration?.status?.phase === "Failed" && migration;
    });
    expect(failed.status?.message).toBe(
      'host b: policy "apart" keeps its machines on different hosts, web-2 is there',
    );
    expect(await onB()).toEqual(["web-2-1"]);
    expect((await estate.instance("web-1-1")).status).toMatchObject({ phase: "Running", custody: "Held" });
    stop.abort();
    await running;
  });

  it("a user's move against the rule is refused, too", async () => {
    await estate.bind("web-2-1", "b");
    await estate.client.create(Migration, {
      metadata: { name: "m", namespace: NS },
      spec: { vm: "web-1", to: "b" },
    });
    const failed = await until("its end", async () => {
      const migration = await estate.client.get(Migration, { name: "m", namespace: NS });
      return migration?.status?.phase === "Failed" && migration;
    });
    expect(failed.status?.message).toContain('policy "apart"');
  });

  it("both at once: one of them is on b in the end, whichever was first", { timeout: 20_000 }, async () => {
    const stop = new AbortController();
    const running = Promise.all([
      runScheduler(context(stop.signal)),
      runPlanExecutor(context(stop.signal), 50),
    ]);
    await plan();
    let most = 0;
    await until("decided", async () => {
      most = Math.max(most, (await onB()).length);
      const [web2, moves] = [await estate.instance("web-2-1"), await estate.client.get(Plan, { name: "p1" })];
      const told = getCondition(web2.status?.conditions, "Scheduled") !== undefined;
      const { phase } = moves?.status?.moves?.[0] ?? {};
      return told && ((await onB()).includes("web-1-2") || phase === "Failed" || phase === "Skipped");
    });
    most = Math.max(most, (await onB()).length);
    expect(most).toBe(1);
    stop.abort();
    await running;
  });
});

it("a machine that a Migration is to move takes its place there before its target exists, and is not moved otherwise", () => {
  const metadata = { namespace: NS };
  const meta = (name: string) => ({ ...metadata, name, uid: `uid-${name}` });
  const estate = (phase?: "Succeeded" | "Pending", to?: string) =>
    makeEstate({
      hosts: [],
      policies: [],
      machines: [vm("web-1")],
      instances: [instance("web-1", "a")],
      migrations: [
        {
          apiVersion: "vireo.dev/v1",
          kind: "Migration",
          metadata: meta("m"),
          spec: { vm: "web-1", ...(to ? { to } : {}) },
          ...(phase ? { status: { phase } } : {}),
        },
      ],
    }).machines[0];
  expect(estate(undefined, "b")).toMatchObject({ host: "a", movingTo: "b", movable: false });
  expect(estate("Pending", "b")).toMatchObject({ movingTo: "b", movable: false });
  expect(estate()).toMatchObject({ host: "a", movable: false });
  expect(estate()).not.toHaveProperty("movingTo");
  expect(estate("Succeeded", "b")).toMatchObject({ host: "a", movable: true });
});

const instance = (vm: string, host: string | undefined, labels: Record<string, string> = {}): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name: `${vm}-1`, namespace: NS, labels },
  spec: {
    vm,
    vmUid: `uid-${vm}`,
    cpus: 1,
    memory: "64Mi",
    image: "i",
    storagePool: "p",
    interfaces: [],
    running: true,
    ...(host ? { host } : {}),
  },
  status: { custody: "Held", phase: "Running" },
});

it("says the same as the director's own judgement, of any estate in which nothing moves", () => {
  const level = fc.constantFrom(undefined, ...DOMAINS);
  const anyPolicy = fc.record({
    tier: fc.constantFrom("db", "web", ""),
    keepApart: level,
    keepTogether: level,
    spread: level,
    atMost: fc.option(
      fc.oneof(
        fc.record({ per: fc.constantFrom(...DOMAINS), machines: fc.integer({ min: 1, max: 3 }) }),
        fc.record({ per: fc.constantFrom(...DOMAINS), percent: fc.integer({ min: 1, max: 100 }) }),
      ),
      { nil: undefined },
    ),
    required: fc.constantFrom(
      undefined,
      undefined,
      "host.cpu.mhz <= 1999",
      'host.site == "s0"',
      'host.rack != "r1"',
      'machine.latencySensitivity != "high" || host.rack == "r1"',
    ),
  });
  const anyLatency = fc.constantFrom(undefined, "low" as const, "high" as const);
  const anyRun = fc.record({
    tier: fc.constantFrom("db", "web"),
    host: fc.integer({ min: 0, max: 4 }),
    off: fc.constantFrom(false, false, true),
  });
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(anyPolicy, { minLength: 1, maxLength: 2 }),
      fc.array(anyRun, { maxLength: 6 }),
      fc.array(
        fc.record({
          site: fc.integer({ max: 1, min: 0 }),
          rack: fc.integer({ max: 2, min: 0 }),
          ready: fc.boolean(),
        }),
        {
          minLength: 5,
          maxLength: 5,
        },
      ),
      anyLatency,
      (rules, runs, places, latencySensitivity) => {
        const hosts = places.map(({ site, rack, ready }, i): Host => {
          // The one that is asked about is open.
          const status = ready || i === 0 ? ("True" as const) : ("Unknown" as const);
          const condition = { type: "Ready", status, reason: "x", message: "", lastTransitionTime: "" };
          return {
            apiVersion: "vireo.dev/v1",
            kind: "Host",
            metadata: { name: `h${i}` },
            spec: { rack: `r${rack}`, site: `s${site}` },
            status: {
              capacity: { cpus: 99, memory: "99Gi" },
              facts: declaredFacts("a"),
              conditions: [condition],
            },
          };
        });
        const policies = rules.map(({ tier, required, ...spec }, i): Policy => {
          const given = Object.fromEntries(Object.entries(spec).filter(([, value]) => value));
          return {
            apiVersion: "vireo.dev/v2",
            kind: "Policy",
            metadata: { name: `p${i}`, namespace: NS },
            spec: {
              selector: tier ? { matchLabels: { tier } } : {},
              goals: [{ goal: "balanced", weight: 1 }],
              automation: "act",
              priority: 0,
              ...(required ? { required: [required] } : {}),
              ...given,
            },
          };
        });
        const all = [{ tier: "web", host: -1, off: false }, ...runs];
        const machines = all.map(({ tier, off }, i) => {
          const named = vm(`m${i}`, { tier });
          const made = { ...named, spec: { ...named.spec, running: !off } };
          return latencySensitivity ? { ...made, spec: { ...made.spec, latencySensitivity } } : made;
        });
        const instances = all.flatMap(({ host, off }, i) =>
          off ? [] : instance(`m${i}`, host < 0 ? undefined : `h${host}`),
        );
        const estate = makeEstate({ hosts, policies, machines, instances });
        const [machine, host] = [estate.machines.find(({ name }) => name === "m0"), estate.hosts[0]];
        const before = instances[0];
        if (!machine || !host || !before) return false;
        const kinds: Record<string, readonly unknown[]> = {
          Host: hosts,
          Policy: policies,
          VirtualMachine: machines,
          Instance: instances,
        };
        const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
        const bound = { ...before, spec: { ...before.spec, host: "h0" } };
        const why = obstacle(estate, machine, host);
        const [cause] = checkRules(bound, before, lookup);
        if (why) refused++;
        return cause === undefined ? why === undefined : why !== undefined;
      },
    ),
    { numRuns: 300, seed: 20261128 },
  );
  expect(refused).toBeGreaterThan(50);
});

it("binds nothing that rules are required for to a host that has not told yet what it is", () => {
  const host: Host = { apiVersion: "vireo.dev/v1", kind: "Host", metadata: { name: "a" }, spec: {} };
  const fast: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "fast", namespace: NS },
    spec: { selector: {}, automation: "act", priority: 0, required: ["host.cpu.mhz >= 3000"] },
  };
  const kinds: Record<string, readonly unknown[]> = { Host: [host], Policy: [fast] };
  const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
  const asked = () => checkRules(instance("m0", "a"), undefined, lookup).map(({ message }) => message);
  const why =
    "Forbidden: host a: it has not told yet what it is: whether it keeps the rules of policies cannot be said";
  expect(asked()).toEqual([why]);
  kinds.Policy = [];
  expect(asked()).toEqual([]);
  kinds.Host = [{ ...host, spec: { dedicatedTo: "shop" } }];
  expect(asked()).toEqual([why]);
});

it("holds to rules about how sensitive a machine is to latency, which its run does not tell", () => {
  const ready = { type: "Ready", status: "True" as const, reason: "x", message: "", lastTransitionTime: "" };
  const host: Host = {
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name: "a" },
    spec: { rack: "slow" },
    status: {
      capacity: { cpus: 99, memory: "99Gi" },
      facts: declaredFacts("a"),
      conditions: [ready],
    },
  };
  const said = (rule: string, latencySensitivity?: "high") => {
    const policy: Policy = {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "p", namespace: NS },
      spec: { selector: {}, automation: "act", priority: 0, required: [rule] },
    };
    const made = vm("m0");
    const machine = {
      ...made,
      spec: { ...made.spec, ...(latencySensitivity ? { latencySensitivity } : {}) },
    };
    const kinds: Record<string, readonly unknown[]> = {
      Policy: [policy],
      Host: [host],
      VirtualMachine: [machine],
    };
    const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
    return checkRules(instance("m0", "a"), undefined, lookup).length > 0;
  };
  const notSlow = 'machine.latencySensitivity != "high" || host.rack != "slow"';
  expect([said(notSlow), said(notSlow, "high")]).toEqual([false, true]);
  const slow = 'machine.latencySensitivity == "high" && host.rack == "slow"';
  expect([said(slow), said(slow, "high")]).toEqual([true, false]);
});

it("lets a user move machines that are kept together, one after the other, but no plan", () => {
  const together: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "together", namespace: NS },
    spec: {
      selector: {},
      goals: [{ goal: "balanced", weight: 1 }],
      automation: "act",
      priority: 0,
      keepTogether: "host",
    },
  };
  const kinds: Record<string, readonly unknown[]> = {
    Policy: [together],
    Instance: [instance("m1", "a"), instance("m0", "a")],
  };
  const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
  const target = (placement: Instance["spec"]["placement"], incoming: boolean) => {
    const { metadata, spec, ...rest } = instance("m0", "b");
    const made = { ...rest, metadata, spec: { ...spec, incoming, ...(placement ? { placement } : {}) } };
    return checkRules(made, undefined, lookup).map(({ message }) => message);
  };
  const why = 'Forbidden: host b: policy "together" keeps its machines on one host, m1 is on a';
  expect(target({ reason: "asked for by hand" }, true)).toEqual([]);
  expect(target({ reason: "better", plan: "p1" }, true)).toEqual([why]);
  expect(target({ reason: "bound" }, false)).toEqual([why]);

  kinds.Policy = [
    { ...together, spec: { ...together.spec, keepTogether: undefined, moves: { never: true } } },
  ];
  const never = 'Forbidden: host b: policy "together" lets it not be moved while it runs';
  expect(target({ reason: "asked for by hand" }, true)).toEqual([never]);
  expect(target({ reason: "better", plan: "p1" }, true)).toEqual([never]);
  expect(target({ reason: "bound" }, false)).toEqual([]);
});

describe("of three hosts in two racks of one site", () => {
  const host = (name: string, rack: string): Host => ({
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name },
    spec: { site: "s", rack },
    status: {
      capacity: { cpus: 99, memory: "99Gi" },
      facts: declaredFacts(name),
      conditions: [
        {
          type: "Ready",
          status: "True",
          reason: "x",
          message: "",
          lastTransitionTime: "2026-11-28T10:00:00Z",
        },
      ],
    },
  });
  /** What is said of a user's move of m0 to a host, while m1, m2… are where `on` says. */
  const said = (spec: Partial<Policy["spec"]>, to: string, on: string[]) => {
    const policy: Policy = {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "p", namespace: NS },
      spec: {
        selector: {},
        goals: [{ goal: "balanced", weight: 1 }],
        automation: "act",
        priority: 0,
        ...spec,
      },
    };
    const kinds: Record<string, readonly unknown[]> = {
      Policy: [policy],
      Host: [
        host("a", "r1"),
        host("b", "r1"),
        host("c", "r2"),
        { ...host("far", "r1"), spec: { site: "t" } },
      ],
      Instance: on.map((at, i) => instance(`m${i + 1}`, at)),
    };
    const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
    const [cause] = checkRules(instance("m0", to), undefined, lookup);
    return cause?.message.replace(/^Forbidden: host \w+: policy "p" /, "");
  };

  it("a rack and a site are told apart", () => {
    expect(said({ keepTogether: "site" }, "c", ["a"])).toBeUndefined();
    expect(said({ keepTogether: "rack" }, "b", ["a"])).toBeUndefined();
    expect(said({ keepTogether: "rack" }, "c", ["a"])).toBe("keeps its machines on one rack, m1 is on a");
    expect(said({ keepTogether: "host" }, "b", ["a"])).toBe("keeps its machines on one host, m1 is on a");
    expect(said({ keepApart: "site" }, "c", ["a"])).toBe(
      "keeps its machines on different sites, m1 is there",
    );
    expect(said({ keepApart: "site" }, "far", ["a"])).toBeUndefined();
    expect(said({ keepApart: "rack" }, "c", ["a"])).toBeUndefined();
    expect(said({ keepApart: "rack" }, "b", ["a"])).toBe(
      "keeps its machines on different racks, m1 is there",
    );
    expect(said({ spread: "site" }, "c", ["a"])).toBe(
      "spreads its machines over sites: 1 of them here, 0 elsewhere",
    );
    expect(said({ spread: "rack" }, "c", ["a"])).toBeUndefined();
    expect(said({ spread: "rack" }, "b", ["a"])).toBe(
      "spreads its machines over racks: 1 of them here, 0 elsewhere",
    );
  });

  it("no more than the policy says come to one, a share being of all that it chooses", () => {
    const two = (per: "host" | "rack" | "site") => ({ atMost: { per, machines: 2 } });
    const are = (per: string) => `has at most 2 of its machines on one ${per}, 2 are there`;
    expect(said(two("host"), "b", ["a", "a"])).toBeUndefined();
    expect(said(two("host"), "a", ["a", "a"])).toBe(are("host"));
    expect(said(two("rack"), "b", ["a", "a"])).toBe(are("rack"));
    expect(said(two("rack"), "c", ["a", "b"])).toBeUndefined();
    expect(said(two("site"), "c", ["a", "b"])).toBe(are("site"));
    expect(said({ atMost: { per: "host", percent: 50 } }, "a", ["a", "b"])).toBe(
      "has at most 1 (50 % of 3) of its machines on one host, 1 are there",
    );
    expect(said({ atMost: { per: "host", percent: 50 } }, "a", ["a", "b", "b"])).toBeUndefined();
  });
});

it("holds to what stands of a rule that also speaks of the moment", () => {
  const condition = {
    type: "Ready",
    status: "True" as const,
    reason: "x",
    message: "",
    lastTransitionTime: "",
  };
  const inUs: Host = {
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name: "a" },
    spec: { site: "us" },
    status: {
      capacity: { cpus: 99, memory: "99Gi" },
      facts: declaredFacts("a"),
      conditions: [condition],
    },
  };
  const said = (rule: string) => {
    const policy: Policy = {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "p", namespace: NS },
      spec: { selector: {}, automation: "act", priority: 0, required: [rule] },
    };
    const kinds: Record<string, readonly unknown[]> = { Policy: [policy], Host: [inUs] };
    const lookup = { list: <T>(kind: { kind: string }) => (kinds[kind.kind] ?? []) as readonly T[] };
    return checkRules(instance("m0", "a"), undefined, lookup).map(({ message }) => message);
  };
  const refused =
    /^Forbidden: host a: policy "p" requires (?!.*price).*host\.site == "eu"\)? \(host\.site is us\)$/;
  const cheap = "host.power.price < 0.3";
  for (const rule of [
    `host.site == "eu" && ${cheap}`,
    `${cheap} && host.site == "eu"`,
    `(${cheap} || host.disk.ssd) && machine.cpus >= 1 && host.site == "eu"`,
    `(((${cheap})) && (host.site == "eu"))`,
    `(machine.name != "&&") && ((${cheap} && (host.site == "eu")) && (machine.cpus) == (1))`,
    `${cheap} // cheap && near\n && // in (Europe\n host.site == "eu"`,
  ])
    expect(said(rule), rule).toEqual([expect.stringMatching(refused)]);
  for (const rule of [
    cheap,
    `host.site == "us" && ${cheap}`,
    `host.site == "eu" || ${cheap}`,
    `!(host.site == "us" && ${cheap})`,
  ])
    expect(said(rule), rule).toEqual([]);
});
