/** A wake test waits while what is kept of hosts would not be kept without the one that is away for it. */
import { describe, expect, it } from "vitest";
import { overriding } from "../../client/testing/overriding.ts";
import type { Host } from "../../compute/hosts/kinds.ts";
import { openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import type { MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { Plan } from "../planning/kinds.ts";
import { frugal, poweredHost } from "../testing/powered.ts";
import { hostView, machineView, policyOf } from "../testing/views.ts";
import type { PowerInput } from "./input.ts";
import { Untested, wakeTestsOf } from "./wake-tests.ts";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const names = ["a", "b", "c"];

const machine = (name: string, on: string): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app: "web" },
  cpus: 8,
  memoryBytes: 2 ** 33,
  movable: true,
  since: 0,
  host: on,
});

const input = (more: Partial<PowerInput> = {}, machines = [machine("m", "a")], policies: Policy[] = []) => ({
  estate: { hosts: names.map((name) => hostView(name)), machines, policies, odd: [] },
  hosts: names.map(poweredHost),
  policies: [],
  unread: [],
  waiting: [],
  expected: new Set<string>(),
  now: NOW,
  controlPlanes: new Set<string>(),
  ...more,
});
const host = (name: string, during?: { hours: string }): Host => {
  const made = poweredHost(name);
  const wakeTest = { everyDays: 7, ...(during ? { during } : {}) };
  return { ...made, spec: { ...made.spec, powerManagement: { wakeTest } } };
};

it("begins where nothing needs the host, in its window", () => {
  const why = (name: string, hours?: string, more: Partial<PowerInput> = {}) =>
    new Untested(input(more)).why(host(name, hours ? { hours } : undefined));
  expect(why("b")).toBeUndefined();
  expect(why("b", "11:00-13:00")).toBeUndefined();
  expect(why("b", "22:00-06:00")).toBe("for 22:00-06:00 UTC");
  expect(why("b", undefined, { expected: new Set(["b"]) })).toBe("until no machine comes there any more");
  expect(why("z")).toBe("for the director to see the host");
});

it("waits for spare hosts, what policies want to survive, and what is forecast", () => {
  // Each machine fills a host: one of three may be lost, and none while another is away.
  const two = [machine("m", "a"), machine("n", "b")];
  const lost = "because without it the loss of host a would not be survived: m finds no room elsewhere";
  expect(new Untested(input({ policies: [frugal({ spareHosts: 1 })] }, two)).why(host("c"))).toBe(lost);
  expect(new Untested(input({ policies: [frugal({ spareHosts: 0 })] }, two)).why(host("c"))).toBeUndefined();
  expect(
    new Untested(input({ policies: [frugal({ spareHosts: 1, automation: "off" })] }, two)).why(host("c")),
  ).toBeUndefined();
  const survive: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "web", namespace: "default" },
    spec: {
      selector: { matchLabels: { app: "web" } },
      automation: "act",
      priority: 0,
      failover: { per: "host", losses: 1 },
    },
  };
  expect(new Untested(input({}, two, [survive])).why(host("c"))).toBe(lost);
  // Of two empty hosts the second waits for the first.
  const one = new Untested(input({}, [machine("m", "a")], [survive]));
  expect([one.why(host("b")), one.why(host("c"))]).toEqual([undefined, lost]);
  const ahead = () => ({ cpus: 20, memoryMiB: 1, by: NOW });
  expect(new Untested(input({ policies: [frugal({ spareHosts: 0 })], ahead })).why(host("c"))).toBe(
    "because without it by 2026-01-01T12:00:00.000Z machines usually have 20 CPUs, those that are on have 16",
  );
});

it("of a host with machines waits while it is not known what policies survive", () => {
  // Of machines that are spread over racks, each rack having some, none follows from the loss of hosts alone.
  const all = Array.from({ length: 60 }, (_, i) => `h${i}`);
  const untested = (losses: number) => {
    const estate = {
      hosts: all.map((name, i) => hostView(name, { rack: `r${i % 3}` })),
      machines: all.slice(1).map((name) => machineView(`m-${name}`, name)),
      policies: [policyOf("web", { spread: "rack", failover: { per: "host", losses } })],
      odd: [],
    };
    return new Untested(input({ estate, hosts: all.map(poweredHost) }));
  };
  expect(untested(1).why(host("h5"))).toBeUndefined();
  const three = untested(3);
  expect(three.why(host("h5"))).toMatch(
    /^because of what policy "web" wants to survive it cannot be proven: any 3 hosts are 34220 losses, more than/,
  );
  expect(three.why(host("h0"))).toBeUndefined();
});

describe("of a host with machines", () => {
  const web = (spec: Partial<Policy["spec"]>): Policy => ({
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "web", namespace: "default" },
    spec: { selector: { matchLabels: { app: "web" } }, automation: "act", priority: 0, ...spec },
  });
  const small = (name: string, on: string): MachineView => ({
    ...machine(name, on),
    cpus: 2,
    memoryBytes: 2 ** 30,
  });
  const why = (machines: MachineView[], policies: Policy[] = [], more: Partial<PowerInput> = {}) =>
    new Untested(input(more, machines, policies)).why(host("a"));
  const two = [small("m", "a"), small("n", "a")];

  it("begins where all of them can go elsewhere by rules, limits and room", () => {
    expect(why(two)).toBeUndefined();
    expect(why([machine("m", "a"), machine("n", "b"), machine("o", "c")])).toBe(
      "because default/m finds no other host (by its rules, room and measured load)",
    );
    // Each finds room, but not both.
    expect(why([...two, machine("n", "b"), { ...small("o", "c"), cpus: 6 }])).toBe(
      "because default/n finds no other host (by its rules, room and measured load)",
    );
    const busy = { cpus: 3.9, expected: 3.9, deviation: 0 };
    const other = (on: string) => ({ ...small(`busy-${on}`, on), use: busy });
    expect(
      why([...two.map((m) => ({ ...m, use: { ...busy, expected: 0.5 } })), other("b"), other("c")]),
    ).toMatch(/^because default\/[mn] finds no other host/);
    expect(why(two, [web({ keepApart: "host" })])).toBeUndefined();
    expect(why([...two, small("o", "b")], [web({ keepApart: "host" })])).toMatch(/finds no other host/);
  });

  it("waits for what its policies say of moves", () => {
    expect(why(two, [web({ moves: { quiet: [{ hours: "11:00-13:00" }] } })])).toMatch(
      /^because policy "web" lets nothing move now/,
    );
    expect(why(two, [web({ moves: { perHour: 1 } })])).toBe(
      'because policy "web" lets 1 of its machines move an hour, 0 have or will',
    );
    expect(why(two, [web({ moves: { perHour: 2 } })])).toBeUndefined();
    expect(why(two, [web({ moves: { never: true } })])).toMatch(
      /^because policy web lets default\/[mn] not be moved while it runs$/,
    );
    for (const automation of ["ask", "advise", "off"] as const)
      expect(why(two, [web({ automation })])).toMatch(/has default\/[mn] not be moved by itself/);
    const lately = two.map((each) => ({ ...each, since: NOW - 3_600_000 }));
    expect(why(lately, [web({ moves: { minimumStayMinutes: 90 } })])).toMatch(/came there lately/);
    expect(why(lately, [web({ moves: { minimumStayMinutes: 30 } })])).toBeUndefined();
    expect(why([{ ...small("m", "a"), movable: false }])).toMatch(/^because default\/m does not run/);
  });

  it("waits a day after a machine could not be moved, and for ever for one that could not again and again", () => {
    const HOUR = 3_600_000;
    const failed = (times: number, hours: number) => [
      { ...small("m", "a"), failed: { times, at: NOW - hours * HOUR, why: "it has a template" } },
      small("n", "a"),
    ];
    expect(why(failed(1, 13))).toBe("because default/m could not be moved lately: it has a template");
    expect(why(failed(2, 25))).toBeUndefined();
    expect(why(failed(3, 300))).toMatch(
      /^because default\/m could not be moved 3 times in a row, the last time since it has a template; /,
    );
  });

  it("waits for room that is needed for losses, and for machines that have no other place", () => {
    const full = [machine("m", "a"), machine("n", "b")];
    expect(why(full, [web({ failover: { per: "host", losses: 1 } })])).toMatch(
      /^because without it the loss of host . would not be survived/,
    );
    expect(why(full)).toBeUndefined();
    const { host: _, ...homeless } = { ...small("w", "a"), cpus: 6 };
    const there = [small("m", "a"), machine("n", "b"), machine("o", "c"), homeless];
    expect(why(there, [], { waiting: ["default/w"] })).toBe(
      "because default/w finds a place on no other host",
    );
  });

  it("goes on with what was begun, whoever is still there, until the host is needed", () => {
    const begun = (machines: MachineView[], more: Partial<PowerInput> = {}) => {
      const made = input(more, machines);
      const closed = { closed: "it is emptied for its wake test", emptied: true };
      made.estate.hosts = [hostView("a", closed), hostView("b"), hostView("c")];
      const of = host("a");
      const power = { state: "On" as const, since: "2025", emptying: { startedTime: "2025" } };
      return new Untested(made).why({ ...of, status: { ...of.status, power } });
    };
    expect(begun([{ ...small("m", "a"), movable: false, movingTo: "b" }])).toBeUndefined();
    expect(begun([])).toBeUndefined();
    const failed = (times: number) => ({ times, at: NOW, why: "it has a template" });
    expect(begun([{ ...small("m", "a"), failed: failed(2) }])).toBeUndefined();
    expect(begun([small("n", "a"), { ...small("m", "a"), failed: failed(3) }])).toMatch(
      /^because default\/m could not be moved 3 times in a row/,
    );
    const { host: _, ...homeless } = small("w", "a");
    const there = [machine("n", "b"), machine("o", "c"), homeless];
    expect(begun(there, { waiting: ["default/w"] })).toMatch(/finds a place on no other host$/);
  });
});

it("asks for nothing where a PowerPolicy is off, and waits where it cannot be known who has the say", () => {
  const ahead = () => ({ cpus: 4, memoryMiB: 1, by: NOW });
  const off = frugal({ spareHosts: 0, automation: "off" });
  expect(new Untested(input({ policies: [off], ahead })).why(host("c"))).toBeUndefined();
  expect(new Untested(input({ unread: ["early"] })).why(host("c"))).toBe(
    "because PowerPolicy early cannot be read, and may have the say over it; mend or delete it",
  );
});

it("waits where what is to be kept is not kept as it is", () => {
  const two = [machine("m", "a"), machine("n", "b")];
  expect(new Untested(input({ policies: [frugal({ spareHosts: 2 })] }, two)).why(host("c"))).toMatch(
    /^because the loss of hosts .* is not survived: . finds no room elsewhere$/,
  );
});

it("begins by what is stored now, and reads nothing out of its hours", async () => {
  const estate = await openEstate();
  try {
    for (const name of names) await estate.hostFacts(name);
    let reads = 0;
    const client = overriding(estate.client, {
      list: (...all) => {
        reads++;
        return estate.client.list(...all);
      },
    });
    const context = { client, log: silentLogger, bootId: "elsewhere" };
    const waits = wakeTestsOf({ ...context, clock: { ...systemClock, now: () => new Date(NOW) } });
    expect(await waits(host("b", { hours: "22:00-06:00" }))).toBe("for 22:00-06:00 UTC");
    expect(reads).toBe(0);
    await estate.runMachine("m", "a");
    const stays =
      "came there lately (minimumStayMinutes), or a user wants it there (undo, or a plan rejected)";
    const lately = `because default/m ${stays}`;
    expect(await waits(host("a"))).toBe(lately);
    const once = reads;
    expect(await waits(host("a"))).toBe(lately);
    expect(reads).toBe(once);
    await estate.runMachine("n", "b");
    expect(await waits(host("b"))).toBe(`because default/n ${stays}`);
    expect(await waits(host("c"))).toBeUndefined();
  } finally {
    await estate.close();
  }
});

it("leaves machines where a user wants them, as the planner does", async () => {
  const estate = await openEstate();
  try {
    const { client } = estate;
    for (const name of names) await estate.hostFacts(name);
    await estate.runMachine("m", "a");
    const clock = { ...systemClock, now: () => new Date(Date.now() + 3_600_000) };
    const waits = wakeTestsOf({ client, clock, log: silentLogger, bootId: "elsewhere" });
    expect(await waits(host("a"))).toBeUndefined();
    const move = { namespace: "default", vm: "m", from: "b", to: "a", reason: "undo", expected: "" };
    await client.create(Plan, {
      metadata: { name: "undo-1" },
      spec: { trigger: "a user asked", undoes: "plan-1", automation: "act", moves: [move] },
    });
    const status = {
      phase: "Succeeded",
      endedTime: new Date().toISOString(),
      moves: [{ phase: "Succeeded" }],
    };
    await client.patch(Plan, { name: "undo-1" }, { status }, { subresource: "status" });
    expect(await waits(host("a"))).toMatch(
      /^because default\/m came there lately .*, or a user wants it there/,
    );
  } finally {
    await estate.close();
  }
});
