/** What hosts give out, as policies and budgets limit it: index, words and the server's last word say the same; plans mend it. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { lackOfRoom } from "../../compute/capacity.ts";
import type { Host } from "../../compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { openControlPlane } from "../../compute/testing/control-plane.ts";
import { declaredFacts, NS, openEstate } from "../../compute/testing/estate.ts";
import { type HostView, type MachineView, makeEstate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { Policy } from "../kinds.ts";
import { explain } from "../planning/explain.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { hostView } from "../testing/views.ts";
import { checkOvercommit } from "./overcommit-word.ts";
import { obstacle } from "./rules.ts";

const GiB = 2 ** 30;
const policy = (name: string, spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: NS },
  spec: { selector: { matchLabels: { app: name } }, automation: "act", priority: 0, ...spec },
});
const vm = (name: string, app: string, spec: object): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name, namespace: NS, uid: `uid-${name}`, labels: { app } },
  spec: { running: true, image: "i", storagePool: "p", networks: [], ...spec } as never,
});
const run = (of: VirtualMachine, host: string | undefined): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name: `${of.metadata.name}-1`, namespace: NS, uid: `run-${of.metadata.name}` },
  spec: {
    ...of.spec,
    vm: of.metadata.name,
    vmUid: of.metadata.uid,
    interfaces: [],
    ...(host ? { host } : {}),
  } as never,
});

it("index, words and last word say the same of any estate", () => {
  const share = (...of: number[]) => fc.constantFrom(undefined, undefined, ...of);
  const anyLimits = fc.record({
    cpu: share(0.5, 1, 1.5, 3),
    memory: share(0.5, 0.75, 1.25),
    iops: share(0.5, 2),
    diskBandwidth: share(0.5),
    networkBandwidth: share(0.25, 1),
  });
  const anyMachine = fc.record({
    app: fc.constantFrom("web", "db", "none"),
    cpus: fc.integer({ min: 1, max: 3 }),
    mib: fc.constantFrom(64, 256, 512),
    iops: share(100, 400),
    mibPerSecond: share(10, 60),
    host: fc.integer({ min: 0, max: 1 }),
  });
  let refused = 0;
  fc.assert(
    fc.property(
      fc.tuple(anyLimits, anyLimits),
      fc.array(anyMachine, { minLength: 1, maxLength: 6 }),
      fc.record({ iops: share(500), disk: share(100) }),
      fc.record({ cpu: share(1, 4), memory: share(0.8, 1.5) }),
      (limits, all, budget, given) => {
        const hosts = ["h0", "h1"].map(
          (name): Host => ({
            apiVersion: "vireo.dev/v1",
            kind: "Host",
            metadata: { name },
            spec: {
              overcommit: {
                ...(given.cpu ? { cpu: given.cpu } : {}),
                ...(given.memory ? { memory: given.memory } : {}),
              },
              budget: {
                ...(budget.iops ? { iops: budget.iops } : {}),
                ...(budget.disk ? { diskBytesPerSecond: `${budget.disk}Mi` } : {}),
              },
            },
            status: {
              capacity: { cpus: 8, memory: "1Gi" },
              facts: declaredFacts(name, {
                links: [{ name: "e", mac: "", mbps: 1000, up: true }],
                memory: { totalBytes: GiB, swapBytes: GiB, modules: [] },
              }),
              conditions: [
                { type: "Ready", status: "True", reason: "x", message: "", lastTransitionTime: "" },
              ],
            },
          }),
        );
        const policies = ["web", "db"].flatMap((name, i) => {
          const given = Object.entries(limits[i] ?? {}).filter(([, value]) => value !== undefined);
          return given.length === 0 ? [] : [policy(name, { overcommit: Object.fromEntries(given) })];
        });
        const machines = all.map(({ app, cpus, mib, iops, mibPerSecond }, i) =>
          vm(`m${i}`, app, {
            cpus,
            memory: `${mib}Mi`,
            diskLimits: {
              ...(iops ? { iops } : {}),
              ...(mibPerSecond ? { bytesPerSecond: `${mibPerSecond}Mi` } : {}),
            },
          }),
        );
        const instances = machines.map((of, i) => {
          const made = run(of, i === 0 ? undefined : `h${all[i]?.host}`);
          const rate = all[i]?.mibPerSecond;
          if (rate)
            Object.assign(made.spec, { interfaces: [{ limits: { sendBytesPerSecond: `${rate}Mi` } }] });
          return made;
        });
        const estate = makeEstate({ hosts, policies, machines, instances });
        const index = indexOf(estate);
        const [machine, host, before] = [index.get(`${NS}/m0`), estate.hosts[0], instances[0]];
        const seek = machine && index.likings.seek(machine);
        if (!machine || !host || !before || !seek) throw new Error("not there");
        const lookup = {
          list: <T>({ kind }: { kind: string }) =>
            ({ Host: hosts, Policy: policies, VirtualMachine: machines, Instance: instances })[
              kind
            ] as unknown as readonly T[],
        };
        const bound = { ...before, spec: { ...before.spec, host: "h0" } };
        const why = obstacle(estate, machine, host);
        if (why) refused++;
        expect(index.shelves.admits(seek.want, 0)).toBe(why === undefined);
        // What the host has of CPUs and memory is the compute room's to look at.
        const [used] = [index.use("h0")];
        const room =
          machine.cpus <= 4 * (given.cpu ?? 2) - used.cpus &&
          machine.memoryBytes <= Math.floor((given.memory ?? 1) * 1024) * 2 ** 20 - used.memoryBytes;
        const more = { vmUid: before.spec.vmUid, cpus: before.spec.cpus, memory: before.spec.memory };
        const [onIt] = [hosts[0]];
        expect(onIt && lackOfRoom(onIt, more, instances) === undefined).toBe(room);
        const [cause] = checkOvercommit(bound, before, lookup);
        if (room) expect(cause === undefined, `${cause?.message} | ${why}`).toBe(why === undefined);
        else expect(why).toBeDefined();
        // Where others are: whether they may stay.
        for (const other of estate.machines.filter((one) => one.host)) {
          const there = index.hosts.get(other.host ?? "") as HostView;
          expect(index.likings.seek(other)?.now?.stays).toBe(obstacle(estate, other, there) === undefined);
        }
        // Moved there and back, all is as it was.
        const free = [...index.state.free];
        index.move(machine.key, "h0");
        index.restore(index.position.get(machine.key) ?? -1, machine);
        expect([...index.state.free]).toEqual(free);
      },
    ),
    { numRuns: 300, seed: 20261129 },
  );
  expect(refused).toBeGreaterThan(60);
});

const machineOn = (name: string, app: string, cpus: number, host?: string): MachineView => ({
  key: `${NS}/${name}`,
  namespace: NS,
  name,
  labels: { app },
  cpus,
  memoryBytes: GiB / 4,
  ...(host ? { host } : {}),
  movable: true,
  since: 0,
});

it("a host that has nothing of what a policy does not limit has none of it, not no number", () => {
  const index = indexOf({
    hosts: [hostView("a", { memoryBytes: 0 })],
    machines: [machineOn("web-1", "web", 3, "a")],
    policies: [policy("web", { overcommit: { cpu: 1 } })],
    odd: [],
  });
  expect([...index.state.model.capacity, ...index.state.free].filter(Number.isNaN)).toEqual([]);
});

it("a machine of another policy does not come where it would be too much, and is told the least rule to relax", () => {
  // 4 processors each: 4 CPUs may be given out where web is.
  const web = policy("web", { overcommit: { cpu: 1 } });
  const estate = {
    hosts: [hostView("a"), hostView("b")],
    machines: [
      machineOn("web-1", "web", 3, "a"),
      machineOn("new", "web", 3),
      machineOn("big", "none", 5, "b"),
    ],
    policies: [web],
    odd: [],
  };
  const newcomer = indexOf(estate).get(`${NS}/new`) as MachineView;
  const { host, reason } = place(estate, newcomer);
  expect(host).toBeUndefined();
  expect(reason).toBe(
    'a: needs 3 CPUs, 1 of 4 are free: policy "web" has hosts of its machines give out no more (overcommit.cpu: 1); b: needs 3 CPUs, 0 of 4 are free: policy "web" has hosts of its machines give out no more (overcommit.cpu: 1); without overcommit.cpu: 1 (policy "web") it could run on a, b',
  );
  const other = { ...estate, machines: [...estate.machines.slice(0, 1), machineOn("other", "none", 2, "b")] };
  const verdicts = explain(other, `${NS}/other`)?.hosts ?? [];
  expect(verdicts.find(({ name }) => name === "a")?.verdict).toContain(
    'needs 2 CPUs, 1 of 4 are free: policy "web" has it, for machines there, give out no more (overcommit.cpu: 1)',
  );
});

it("names the rule of another policy among the fewest to relax, with its namespace", () => {
  const web = policy("web", { overcommit: { cpu: 1 } });
  const newcomer = machineOn("new", "none", 2);
  const estate = (web: Policy) => ({
    hosts: [hostView("b")],
    machines: [machineOn("web-1", "web", 3, "b"), newcomer],
    policies: [web],
    odd: [],
  });
  expect(place(estate(web), newcomer).reason).toMatch(
    /; without overcommit\.cpu: 1 \(policy "web"\) it could run on b$/,
  );
  expect(place({ ...estate(web), policies: [] }, newcomer).host).toBe("b");
  // Of another namespace.
  const theirs: Policy = { ...web, metadata: { ...web.metadata, namespace: "other" } };
  const web1 = { ...machineOn("web-1", "web", 3, "b"), key: "other/web-1", namespace: "other" };
  expect(place({ ...estate(theirs), machines: [web1, newcomer] }, newcomer).reason).toMatch(
    /; without overcommit\.cpu: 1 \(policy "web" of namespace other\) it could run on b$/,
  );
});

it("a plan takes machines away from a host that gives out too much", () => {
  const estate = {
    hosts: [hostView("a"), hostView("b")],
    machines: [
      machineOn("web-1", "web", 3, "a"),
      machineOn("x", "none", 2, "a"),
      machineOn("y", "none", 1, "a"),
    ],
    policies: [policy("web", { overcommit: { cpu: 1 } })],
    odd: [],
  };
  const moves = planMoves(estate, { ...PLAN_DEFAULTS, now: 1e12, released: new Set() });
  expect(moves.filter(({ reason }) => reason.startsWith("on a needs"))).toHaveLength(1);
  expect(moves[0]?.reason).toMatch(/^on a needs [123] CPUs, -?\d+ of 4 are free: policy "web" /);
});

it("the server refuses what two decide at once, and says why", async () => {
  const estate = await openEstate();
  try {
    await estate.hostFacts("a");
    await estate.client.create(Policy, {
      metadata: { name: "calm", namespace: NS },
      spec: { selector: {}, overcommit: { memory: 0.5 } },
    });
    for (const name of ["one", "two"]) {
      await estate.createMachine(name, { memory: "300Mi" });
      await estate.instance(`${name}-1`);
    }
    const both = await Promise.allSettled([estate.bind("one-1", "a"), estate.bind("two-1", "a")]);
    expect(both.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(both.find(({ status }) => status === "rejected")).toMatchObject({
      reason: {
        message: expect.stringContaining(
          'spec.host: Forbidden: host a: needs 300Mi memory, 212Mi of 512Mi is free: policy "calm" lets it give out no more (overcommit.memory: 0.5)',
        ),
      },
    });
  } finally {
    await estate.close();
  }
});

it("says of a policy that limits nothing what it should say", async () => {
  const plane = await openControlPlane();
  try {
    const wrong = (overcommit: object) =>
      plane.client
        .create(Policy, { metadata: { name: "p", namespace: NS }, spec: { selector: {}, overcommit } })
        .then(() => "", String);
    expect(await wrong({})).toContain(
      "spec.overcommit: Invalid value: {}: say cpu, memory, iops, diskBandwidth or networkBandwidth",
    );
    expect(await wrong({ memory: 2.5 })).toContain("spec.overcommit.memory");
    expect(await wrong({ memory: 1.5, cpu: 8 })).toBe("");
  } finally {
    await plane.close();
  }
});
