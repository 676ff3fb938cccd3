/** What the writer of a policy, and who looks at it later, is told of others that contradict it. On the real API. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openControlPlane, type TestControlPlane, until } from "../../compute/testing/control-plane.ts";
import { NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { getCondition } from "../../resource/object.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { Policy } from "../kinds.ts";
import { startPlanner } from "../testing/planner.ts";
import { tellPolicies } from "./policy-status.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

const policy = (name: string, spec: object) => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name },
  spec: { selector: { matchLabels: { app: "web" } }, ...spec },
});
const user = { name: "test", groups: [] };
const kind = () => {
  const found = plane.service.kinds.find(({ kind: name }) => name === Policy.kind);
  if (!found) throw new Error("there is no Policy");
  return found;
};
const create = (name: string, spec: object, options: { dryRun?: boolean } = {}) =>
  plane.service.create(kind(), NS, policy(name, spec), { user, ...options });
const WARNING =
  'policy "a", spec.required[0] (host.disk.ssd): can never hold together with spec.required[0] (!host.disk.ssd) of this policy; it chooses all machines that this policy does, and there is no host for any of them';

it("a policy of which no machine can be placed is written, with a warning, however that is done", async () => {
  expect((await create("a", { required: ["host.disk.ssd"] })).warnings).toEqual([]);
  const made = await create("b", { required: ["!host.disk.ssd"] });
  expect(made.warnings).toEqual([WARNING]);
  const written = { user, fieldManager: "test" };
  const merge = (body: object) => plane.service.patch(kind(), NS, "b", { type: "merge", body }, written);
  const apply = (body: object) =>
    plane.service.patch(kind(), NS, "b", { type: "apply", body, force: true, mayCreate: true }, written);
  const merged = await merge({ spec: { required: ["!host.disk.ssd"] } });
  // It says so already.
  expect(merged.warnings).toEqual([]);
  // Nothing of it is about what it says of hosts.
  expect((await merge({ spec: { priority: 3 } })).warnings).toEqual([]);
  expect((await merge({ spec: { required: [] } })).warnings).toEqual([]);
  expect((await merge({ spec: { required: ["!host.disk.ssd"] } })).warnings).toEqual([WARNING]);
  expect((await merge({ spec: { required: [] } })).warnings).toEqual([]);
  expect((await apply(policy("b", { required: ["!host.disk.ssd"] }))).warnings).toEqual([WARNING]);
  expect(made.created).toBe(true);
});

it("one that is made is told what keeps two of its machines from being placed", async () => {
  await create("a", { keepApart: "rack" });
  const { warnings } = await create("b", { keepTogether: "host" }, { dryRun: true });
  expect(warnings).toEqual([
    'policy "a", spec.keepApart (rack): can never hold together with spec.keepTogether (host) of this policy; it chooses all machines that this policy does, and two of them cannot both be placed',
  ]);
});

it("the condition Contradicted names both rules, for as long as there are machines that both choose", async () => {
  const estate = await openEstate();
  const stop = startPlanner(estate.client);
  try {
    await estate.runMachine("web", "a");
    for (const [name, required] of [
      ["a", ["host.cpu.mhz > 2000"]],
      ["b", ["host.cpu.mhz < 1000"]],
    ] as const)
      await estate.client.create(Policy, {
        metadata: { name, namespace: NS },
        // Nobody knows by these alone that they choose the same.
        spec: {
          selector: { matchExpressions: [{ key: name, operator: "DoesNotExist" }] },
          required: [...required],
        },
      });
    const told = (name: string) =>
      until(`${name} to be told`, async () => {
        const found = await estate.client.get(Policy, { name, namespace: NS });
        return getCondition(found?.status?.conditions, "Contradicted")?.message;
      });
    expect(await told("a")).toBe(
      'spec.required[0] (host.cpu.mhz > 2000) can never hold together with spec.required[0] (host.cpu.mhz < 1000) of policy "b", for web',
    );
    expect(await told("b")).toMatch(
      /^spec\.required\[0\] \(host\.cpu\.mhz < 1000\) .* of policy "a", for web$/,
    );
    await estate.client.delete(Policy, { name: "b", namespace: NS });
    await until("nothing to be told any more", async () => {
      const found = await estate.client.get(Policy, { name: "a", namespace: NS });
      const conditions = found?.status?.conditions;
      return getCondition(conditions, "Satisfied") && !getCondition(conditions, "Contradicted")
        ? true
        : undefined;
    });
  } finally {
    await stop();
    await estate.close();
  }
});

const context = (warn: (what: unknown) => void = () => {}) => ({
  client: plane.client,
  clock: systemClock,
  log: { ...silentLogger, warn: (_event: string, fields?: object) => warn(fields) },
  signal: new AbortController().signal,
});

async function stored(name: string, spec: object): Promise<Policy> {
  await create(name, { selector: {}, ...spec });
  const found = await plane.client.get(Policy, { name, namespace: NS });
  if (!found) throw new Error(`there is no policy ${name}`);
  return found;
}

const satisfied = async (name: string) => {
  const found = await plane.client.get(Policy, { name, namespace: NS });
  return getCondition(found?.status?.conditions, "Satisfied")?.message;
};

/** On as many hosts as half of the machines, one after the other. */
function estateOf(policies: Policy[], machines: number): Estate {
  const half = Math.ceil(machines / 2);
  const hosts = Array.from(
    { length: half },
    (_, i): HostView => ({
      ...{ name: `h${i}`, ready: true, site: "", rack: "r", cpus: 640, memoryBytes: 2 ** 40, mhz: 3000 },
      ...{ cores: 32, cpuModel: "x", accelerator: "kvm", ssd: true, linkMbps: 1000 },
    }),
  );
  const all = Array.from(
    { length: machines },
    (_, i): MachineView => ({
      ...{ key: `${NS}/m${i}`, namespace: NS, name: `m${i}`, labels: {}, cpus: 1, memoryBytes: 2 ** 20 },
      ...{ host: `h${i % half}`, movable: true, since: 0 },
    }),
  );
  return { hosts, machines: all, policies, odd: [] };
}

it("of 20,000 machines that break a policy the first few are told, and how many more", async () => {
  const labels = Array.from({ length: 27 }, (_, i) => `host.labels.k${i} == "${"v".repeat(12)}"`);
  const policy = await stored("a", { required: [labels.join(" || ")] });
  await tellPolicies(context(), estateOf([policy], 20_000));
  expect(await satisfied("a")).toMatch(
    /^m0 on h0: policy "a" requires host\.labels\.k0 == .*; m4 on h4: [^;]*; and 19995 more$/,
  );
  const apart = await stored("b", { keepApart: "host" });
  await tellPolicies(context(), estateOf([apart], 20_000));
  expect(await satisfied("b")).toMatch(
    /^m0 on h0: policy "b" keeps its machines on different hosts, m10000 is there; .*; and 19995 more$/,
  );
});

it("a policy of which nothing can be told keeps no other from being told", async () => {
  const policies = [await stored("a", {}), await stored("b", {})];
  vi.spyOn(plane.client, "updateStatus").mockRejectedValueOnce(new Error("too large"));
  const warned: unknown[] = [];
  await tellPolicies(
    context((what) => warned.push(what)),
    estateOf(policies, 1),
  );
  expect(await satisfied("a")).toBeUndefined();
  expect(await satisfied("b")).toBe("holds for 1 machines");
  expect(warned).toEqual([{ object: `Policy/${NS}/a`, message: "too large" }]);
});

it("machines that are off break nothing and are not counted", async () => {
  const share = await stored("a", { atMost: { per: "host", percent: 50 } });
  const estate = estateOf([share], 4);
  const off = ({ host: _, ...machine }: MachineView): MachineView => ({ ...machine, off: true });
  // Two are on each host.
  const [first, second, third, fourth] = estate.machines as [
    MachineView,
    MachineView,
    MachineView,
    MachineView,
  ];
  const tell = async (...machines: MachineView[]) => {
    await tellPolicies(context(), { ...estate, machines });
    return satisfied("a");
  };
  expect(await tell(first, second, third, fourth)).toBe("holds for 4 machines");
  // What four keep three can keep, too.
  expect(await tell(first, second, third, off(fourth))).toBe("holds for 3 machines that are to run, of 4");
  expect(await tell(first, off(second), third, off(fourth))).toMatch(
    /^m0 on h0: policy "a" has at most 1 \(50 % of the 2 that are to run\) of its machines on one host, 1 are there; m2 on h0/,
  );
  expect(await tell(off(first), off(second), off(third), off(fourth))).toBe(
    "holds for 0 machines that are to run, of 4",
  );
  const { host: _, ...waits } = fourth;
  expect(await tell(first, second, third, waits)).toBe("m3 has no host");
});
