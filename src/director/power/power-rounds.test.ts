/** Which hosts are to be on, round after round in a world that does not answer. */
import { expect, it } from "vitest";
import { declaredFacts } from "../../compute/testing/estate.ts";
import type { MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { frugal, poweredHost } from "../testing/powered.ts";
import { GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { givenOut } from "./given-out.ts";
import type { PowerInput } from "./input.ts";
import { decidePower, type Verdict } from "./power.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const nameOf = (i: number) => `h${String(i).padStart(3, "0")}`;

const empty = (count: number, more: Partial<PowerInput> = {}): PowerInput => ({
  estate: {
    hosts: Array.from({ length: count }, (_, i) => hostView(nameOf(i))),
    machines: [],
    policies: [],
    odd: [],
  },
  hosts: Array.from({ length: count }, (_, i) => poweredHost(nameOf(i))),
  policies: [frugal()],
  unread: [],
  waiting: [],
  expected: new Set(),
  now: NOW,
  controlPlanes: new Set(),
  ...more,
});
/** As it is once what is wanted is written. */
function wanted(input: PowerInput, { wishes }: Verdict, now = input.now): PowerInput {
  const hosts = input.hosts.map((host) => {
    const wish = wishes.find((each) => each.host === host.metadata.name);
    const { power } = host.status ?? {};
    if (!wish || !power) return host;
    const since = new Date(now).toISOString();
    const automatic = { power: wish.power, since, policy: wish.policy, reason: wish.reason };
    return { ...host, status: { ...host.status, power: { ...power, automatic } } };
  });
  return { ...input, hosts, now };
}

it("a tenth of the hosts at most is on its way off, however many rounds pass before the first is off", () => {
  let input = empty(20);
  const offs = () => input.hosts.filter(({ status }) => status?.power?.automatic?.power === "Off").length;
  for (let round = 0; round < 12; round++) input = wanted(input, decidePower(input), NOW + round * 2000);
  expect(offs()).toBe(2);
  const told = decidePower(input);
  expect(told.wishes).toEqual([]);
  expect([...told.why.values()]).toContain(
    "on: others are switched off first, a tenth of them and 50 at most at a time",
  );
  // Those that never answer do not hold up the others for ever.
  input = wanted(input, decidePower({ ...input, now: NOW + 3 * 3_600_000 }), NOW + 3 * 3_600_000);
  expect(offs()).toBe(4);
});

it("the hosts of all control planes stay on, and one that is off or on its way comes back", () => {
  const input = empty(4, { controlPlanes: new Set(["b1", "b2", "b3"]) });
  const hosts = input.hosts.map((host, i) => {
    const facts = declaredFacts(host.metadata.name, { bootId: `b${i}` });
    const since = new Date(NOW).toISOString();
    const automatic = { power: "Off" as const, since, policy: "frugal", reason: "it is empty" };
    const { power = { state: "On" as const, since } } = host.status ?? {};
    return { ...host, status: { facts, power: i === 3 ? { ...power, automatic } : power } };
  });
  const { wishes, why } = decidePower({ ...input, hosts, policies: [frugal({ spareHosts: 0 })] });
  expect(wishes.map(({ host, power }) => `${host} ${power}`)).toEqual(["h003 On"]);
  expect(why.get("h001")).toBe("on: a control plane runs on it");
  const sound = decidePower({ ...input, hosts: hosts.slice(0, 3), policies: [frugal({ spareHosts: 0 })] });
  expect(sound.wishes.map(({ host, power }) => `${host} ${power}`)).toEqual(["h000 Off"]);
});

it("hosts of which a PowerPolicy that cannot be read may have the say stay as they are", () => {
  const since = new Date(NOW - 3_600_000).toISOString();
  const automatic = { power: "Off" as const, since, policy: "frugal", reason: "it is empty" };
  const fulfilled = { since, finishedTime: since };
  const input = empty(4, { unread: ["early"] });
  const hosts = input.hosts.map((host, i) =>
    i === 0 ? { ...host, status: { power: { state: "Off" as const, since, automatic, fulfilled } } } : host,
  );
  const wishes = (more: Partial<PowerInput>) =>
    decidePower({ ...input, hosts, ...more }).wishes.map(({ host, power }) => `${host} ${power}`);
  const other = frugal({ selector: { matchLabels: { power: "saved" } } });
  for (const policies of [[frugal()], [frugal({ automation: "off" })], [other], []])
    expect(wishes({ policies })).toEqual([]);
  // It comes after the one that chooses them.
  expect(wishes({ policies: [frugal({}, "an")] })).toEqual(["h001 Off"]);
  expect(decidePower({ ...input, hosts, policies: [] }).why.get("h000")).toBe(
    "stays as it is: PowerPolicy early cannot be read, and may have the say over it; mend or delete it",
  );
});

it("does not say that no machine waits while one does", () => {
  const input = empty(3, { policies: [frugal({ spareHosts: 0 })], waiting: ["default/huge"] });
  const huge: MachineView = {
    ...{ key: "default/huge", namespace: "default", name: "huge", labels: {}, cpus: 1 },
    ...{ memoryBytes: 2 ** 40, movable: true, since: 0 },
  };
  const reasons = (of: PowerInput) => decidePower(of).wishes.map(({ reason }) => reason);
  expect(reasons({ ...input, estate: { ...input.estate, machines: [huge] } })).toEqual([
    "it is empty and not needed: no machine that waits for a place needs it",
  ]);
  expect(reasons({ ...input, waiting: [] })).toEqual([
    "it is empty and not needed: no machine waits for a place",
  ]);
});

it("what is only advised keeps no host on under a policy that acts", () => {
  // Three empty hosts have to be left: of four one may go, and those of the policy that only advises stay on.
  const input = empty(5);
  const names = ["advised", "advised", "acting", "acting", "acting"];
  const hosts = input.hosts.map((host, i) => ({
    ...host,
    metadata: { ...host.metadata, labels: { power: names[i] ?? "" } },
  }));
  const views = input.estate.hosts.map((view, i) => ({ ...view, idleWatts: i < 2 ? 200 : 100 }));
  const machines: MachineView[] = [4].map((i) => ({
    ...{ key: `default/m${i}`, namespace: "default", name: `m${i}`, labels: {}, cpus: 1 },
    ...{ memoryBytes: 2 ** 32, movable: true, since: 0, host: nameOf(i) },
  }));
  const survive: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "survive", namespace: "default" },
    spec: { selector: {}, automation: "act", priority: 0, failover: { per: "host", losses: 3 } },
  };
  const of = (name: string, automation: "act" | "advise") =>
    frugal({ automation, spareHosts: 0, selector: { matchLabels: { power: name } } }, name);
  const { wishes } = decidePower({
    ...input,
    estate: { ...input.estate, hosts: views, machines, policies: [survive] },
    hosts,
    policies: [of("advised", "advise"), of("acting", "act")],
  });
  expect(wishes.filter(({ policy }) => policy === "acting").map(({ power }) => power)).toEqual(["Off"]);
});

it("while it is not known what policies survive, nothing goes off", () => {
  // Two hosts are empty, so that of any three full ones the loss is not survived: too many to look at each.
  const input = empty(16, { policies: [frugal({ spareHosts: 0 })] });
  const machines = Array.from({ length: 14 }, (_, i) =>
    machineView(`m${i}`, nameOf(i), { memoryBytes: 8 * GiB }),
  );
  const of = (losses: number) => {
    const policies = [policyOf("survive", { failover: { per: "host", losses } })];
    return decidePower({ ...input, estate: { ...input.estate, machines, policies } });
  };
  expect(of(3).wishes).toEqual([]);
  expect(of(3).why.get(nameOf(15))).toBe(
    'on: of what policy "survive" wants to survive it cannot be proven: any 3 hosts are 560 losses, more than can be looked at one by one; it could be if 3 more hosts as large as the largest were empty, or fewer were to be lost at once',
  );
  expect(of(1).wishes).toHaveLength(1);
});

it("decides of a thousand hosts at most fifty at a time", () => {
  let input = empty(1000, { policies: [frugal({ spareHosts: 0 })] });
  for (let round = 0; round < 3; round++) input = wanted(input, decidePower(input));
  expect(input.hosts.filter(({ status }) => status?.power?.automatic).length).toBe(50);
});

it("looks at some in each round where many are needed, and reaches the one that is not", () => {
  const input = empty(121, { policies: [frugal({ spareHosts: 0 })] });
  const last = nameOf(120);
  // Of one site all machines are, each as large as a host; of the other site each host is needed when that is lost, but for the last, which has no room for any.
  const hosts = input.estate.hosts.map((each, i) => ({
    ...each,
    site: i < 60 ? "south" : "north",
    ...(each.name === last ? { memoryBytes: 2 ** 28 } : {}),
  }));
  const machines = Array.from({ length: 60 }, (_, i) => ({
    key: `default/m${i}`,
    namespace: "default",
    name: `m${i}`,
    labels: { app: "all" },
    cpus: 5,
    memoryBytes: 5 * 2 ** 30,
    movable: true,
    since: 0,
    host: nameOf(i),
  }));
  const survive: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "survive", namespace: "default" },
    spec: { selector: {}, automation: "act", priority: 0, failover: { per: "site", losses: 1 } },
  };
  const looked = new Set<string>();
  const off = Array.from({ length: 5 }, (_, minute) => {
    const estate = { ...input.estate, hosts, machines, policies: [survive] };
    const { wishes, why } = decidePower({ ...input, estate, now: NOW + minute * 60_000 });
    const needed = [...why.values()].filter((text) => text.startsWith("on: without it the loss of"));
    expect(needed.length).toBeLessThanOrEqual(100);
    looked.add(String(needed.length));
    return wishes.map(({ host, power }) => `${host} ${power}`);
  });
  expect([...looked]).not.toContain("0");
  expect(off.flat()).toContain(`${last} Off`);
  expect(new Set(off.flat()).size).toBe(1);
});

it("has two hosts to spare of many more than can be looked at two by two, also where it has the say over few", () => {
  const input = empty(202);
  const isOf = (i: number) => i % 20 === 0;
  const hosts = input.hosts.map((host, i) => ({
    ...host,
    metadata: { ...host.metadata, labels: { power: isOf(i) ? "saved" : "other" } },
  }));
  const machines = [0, 20].map((i) => ({
    key: `default/m${i}`,
    namespace: "default",
    name: `m${i}`,
    labels: {},
    cpus: 1,
    memoryBytes: 2 ** 30,
    movable: true,
    since: 0,
    host: nameOf(i),
  }));
  const policies = [frugal({ spareHosts: 2, selector: { matchLabels: { power: "saved" } } })];
  const { wishes, policies: told } = decidePower({
    ...input,
    estate: { ...input.estate, machines },
    hosts,
    policies,
  });
  expect(told.map(({ spare }) => spare)).toEqual([
    { kept: true, message: "all machines find room also when any 2 hosts that are on are lost" },
  ]);
  expect(wishes.map(({ power }) => power)).toEqual(["Off", "Off"]);
});

it("wakes no host for a machine that nobody moves there: it would go off again, for ever", () => {
  const input = empty(2, { policies: [frugal({ spareHosts: 0 })] });
  const machine = (name: string, iops: number): MachineView => ({
    key: `default/${name}`,
    namespace: "default",
    name,
    labels: {},
    cpus: 1,
    memoryBytes: 2 ** 28,
    movable: true,
    since: 0,
    host: "h000",
    use: {
      cpus: 0,
      expected: 0,
      demand: { memoryBytes: 0, iops, diskBytes: 0, networkBytes: 0 },
    },
  });
  const packing: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "packing", namespace: "default" },
    spec: { selector: {}, automation: "act", priority: 0, goals: [{ goal: "packing", weight: 1 }] },
  };
  const estate = (on: boolean, ...machines: MachineView[]) => ({
    ...input.estate,
    hosts: input.estate.hosts.map((host, i) => ({ ...host, budget: { iops: 1000 }, ready: on || i === 0 })),
    machines,
    policies: [packing],
  });
  const hosts = (on: boolean) =>
    input.hosts.map((host, i) => {
      if (on || i === 0) return host;
      const since = new Date(NOW - 3 * 3_600_000).toISOString();
      const automatic = { power: "Off" as const, since, policy: "frugal", reason: "it is empty" };
      const { power } = host.status ?? {};
      const off = {
        ...power,
        state: "Off" as const,
        since,
        automatic,
        fulfilled: { since, finishedTime: since },
      };
      return { ...host, status: { ...host.status, power: off } };
    });
  const wishes = (on: boolean, ...machines: MachineView[]) =>
    decidePower({ ...input, estate: estate(on, ...machines), hosts: hosts(on) }).wishes.map(
      ({ host, power }) => `${host} ${power}`,
    );
  const moves = (...machines: MachineView[]) =>
    planMoves(estate(true, ...machines), { ...PLAN_DEFAULTS, now: NOW, released: new Set() }).map(
      ({ vm, to }) => `${vm} ${to}`,
    );
  // It fits nowhere, and the other one has nothing to do with it.
  const stuck = [machine("greedy", 5000), machine("idle", 0)];
  expect(moves(...stuck)).toEqual([]);
  expect(wishes(false, ...stuck)).toEqual([]);
  expect(wishes(true, ...stuck)).toEqual(["h001 Off"]);
  // Nobody knows what it uses.
  const { use: _, ...unknown } = machine("unknown", 0);
  expect(wishes(false, machine("greedy", 5000), unknown)).toEqual([]);
  // One that is moved is worth a host.
  const helped = [machine("greedy", 900), machine("busy", 800)];
  expect(wishes(false, ...helped)).toEqual(["h001 On"]);
  expect(moves(...helped)).toHaveLength(1);
  // Unless nobody moves it, since its host is cordoned.
  const cordoned = estate(false, ...helped);
  cordoned.hosts = cordoned.hosts.map((host) => (host.ready ? { ...host, cordoned: true } : host));
  expect(decidePower({ ...input, estate: cordoned, hosts: hosts(false) }).wishes).toEqual([]);
});

it("what waits counts towards what hosts are on for only where one of them could take it, up to what they have in all", () => {
  const policy = frugal();
  const waits = (...machines: MachineView[]) => {
    const input = empty(2, { policies: [policy], waiting: machines.map(({ key }) => key) });
    const policies = [
      policyOf("ssd", { selector: { matchLabels: { disk: "ssd" } }, required: ["host.disk.ssd"] }),
    ];
    return givenOut({ ...input, estate: { ...input.estate, machines, policies } }, policy);
  };
  expect(waits(machineView("a", undefined), machineView("b", undefined, { cpus: 3 }))).toEqual({
    cpus: 4,
    memoryMiB: 2048,
  });
  // Larger than any host, and one that its policy keeps from all of them.
  const never = [
    machineView("huge", undefined, { memoryBytes: 512 * GiB }),
    machineView("fast", undefined, { labels: { disk: "ssd" } }),
  ];
  expect(waits(machineView("a", undefined), ...never)).toEqual({ cpus: 1, memoryMiB: 1024 });
  const many = Array.from({ length: 9 }, (_, i) => machineView(`m${i}`, undefined, { memoryBytes: 4 * GiB }));
  expect(waits(...many)).toEqual({ cpus: 9, memoryMiB: 16_384 });
});
