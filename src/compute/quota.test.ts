/** Quotas over the real API operations: what is let in, what is refused and in which words, and that many at once do not slip by. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Namespace } from "../api/namespaces.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { VirtualMachine } from "./kinds.ts";
import { type Amounts, ResourceQuota } from "./quota.ts";
import { runQuotaReconciler } from "./quota-reconciler.ts";
import { openControlPlane, type TestControlPlane, untilObject } from "./testing/control-plane.ts";

const COUNT = "count/virtualmachines.vireo.dev";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
  for (const name of ["shop", "other"])
    await plane.client.create(Namespace, { metadata: { name }, spec: {} });
});
afterEach(() => plane.close());

const at = (name: string, namespace = "shop") => ({ name, namespace });
const create = (name: string, more: Partial<VirtualMachine["spec"]> = {}, namespace = "shop") =>
  plane.client.create(VirtualMachine, {
    metadata: at(name, namespace),
    spec: { cpus: 1, memory: "64Mi", image: "web", ...more } as VirtualMachine["spec"],
  });
const limit = (name: string, hard: Amounts) =>
  plane.client.create(ResourceQuota, { metadata: at(name), spec: { hard } });
const refusal = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => "it was let in",
    (reason: unknown) => reason,
  );
  return isApiError(error) ? `${error.code} ${error.message}` : String(error);
};

it("lets in what fits, and says what does not in Kubernetes' words", async () => {
  await limit("small", { [COUNT]: 2, "requests.cpu": "4", "requests.memory": "1Gi" });
  await create("a", { cpus: 3 });
  expect(await refusal(create("b", { cpus: 2 }))).toBe(
    '403 virtualmachines.vireo.dev "b" is forbidden: exceeded quota: small, requested: requests.cpu=2, used: requests.cpu=3, limited: requests.cpu=4',
  );
  await create("b", { memory: "960Mi" });
  expect(await refusal(create("c"))).toContain(
    `exceeded quota: small, requested: ${COUNT}=1,requests.cpu=1,requests.memory=64Mi, used: ${COUNT}=2,requests.cpu=4,requests.memory=1Gi, limited: ${COUNT}=2,requests.cpu=4,requests.memory=1Gi`,
  );
  // It is the project's, nobody else's.
  await create("c", { cpus: 100 }, "other");
  // What goes makes room.
  await plane.client.delete(VirtualMachine, at("a"));
  await create("c");
});

it("a change is held to what it adds; one that adds nothing is never refused", async () => {
  const a = await create("a", { cpus: 4, memory: "1Gi" });
  // Lowered below what is used: it takes nothing away.
  await limit("late", { "requests.cpu": 2, "requests.memory": "2Gi" });
  const patch = (spec: object) => plane.client.patch(VirtualMachine, at("a"), { spec });
  expect(await refusal(patch({ cpus: 5 }))).toContain(
    "exceeded quota: late, requested: requests.cpu=1, used: requests.cpu=4, limited: requests.cpu=2",
  );
  await patch({ memory: "2Gi" });
  await patch({ cpus: 3, running: false });
  await plane.client.updateStatus(VirtualMachine, {
    ...((await plane.client.get(VirtualMachine, at("a"))) ?? a),
    status: { phase: "Stopped" },
  });
  expect(await refusal(patch({ memory: "3Gi" }))).toContain("requests.memory=1Gi, used: requests.memory=2Gi");
  await plane.client.delete(VirtualMachine, at("a"));
});

it("data disks that are taken out of a machine are kept, and count until it is deleted", async () => {
  await limit("disks", { "requests.storage": "10Gi" });
  const disk = (name: string, size: string) => ({ name, size });
  await create("a", { diskSize: "2Gi", disks: [disk("one", "6Gi"), disk("never", "1Gi")] });
  const patch = (disks: object[]) => plane.client.patch(VirtualMachine, at("a"), { spec: { disks } });
  const status = { disks: [{ ...disk("one", "6Gi"), made: true }, disk("never", "1Gi")] };
  await plane.client.patch(VirtualMachine, at("a"), { status }, { subresource: "status" });
  await patch([]);
  expect(await refusal(patch([disk("two", "3Gi")]))).toContain(
    "exceeded quota: disks, requested: requests.storage=3Gi, used: requests.storage=8Gi, limited: requests.storage=10Gi",
  );
  // It is the same one.
  await patch([disk("one", "6Gi"), disk("two", "2Gi")]);
});

it("with a limit of storage a machine has to say its size", async () => {
  await limit("disks", { "requests.storage": "10Gi" });
  expect(await refusal(create("a"))).toBe(
    '403 virtualmachines.vireo.dev "a" is forbidden: failed quota: disks: must specify requests.storage (spec.diskSize, and size of each of spec.disks)',
  );
  await create("a", { diskSize: "8Gi" });
  expect(await refusal(create("b", { diskSize: "3Gi" }))).toContain(
    "requests.storage=3Gi, used: requests.storage=8Gi",
  );
  expect(
    await refusal(plane.client.patch(VirtualMachine, at("a"), { spec: { diskSize: "11Gi" } })),
  ).toContain("403");
  await plane.client.patch(VirtualMachine, at("a"), { spec: { diskSize: "10Gi" } });
});

it("all quotas of a project count", async () => {
  await limit("wide", { "requests.cpu": 100 });
  await limit("narrow", { "requests.cpu": 1 });
  await create("a");
  expect(await refusal(create("b"))).toContain("exceeded quota: narrow");
});

it("of many at once, as many come in as fit", async () => {
  await limit("ten", { [COUNT]: 10, "requests.cpu": "25" });
  const made = await Promise.all(
    Array.from({ length: 60 }, (_, i) => refusal(create(`m${i}`, { cpus: 1 + (i % 4) }))),
  );
  const { items } = await plane.client.list(VirtualMachine);
  const cpus = items.reduce((sum, { spec }) => sum + spec.cpus, 0);
  expect(items.length).toBeLessThanOrEqual(10);
  expect(cpus).toBeLessThanOrEqual(25);
  // Full: not even the smallest fits any more.
  expect(items.length === 10 || cpus === 25).toBe(true);
  expect(made.filter((answer) => answer === "it was let in")).toHaveLength(items.length);
  for (const answer of made) expect(answer).toMatch(/^it was let in$|exceeded quota: ten/);
});

it("names what cannot be limited, and amounts that are none", async () => {
  expect(await refusal(limit("x", { pods: 3 }))).toContain(
    `422 ResourceQuota "x" is invalid: spec.hard[pods]: Unsupported value: "pods": supported values: "${COUNT}"`,
  );
  for (const amount of ["-1", "many", "1Zi", "", " 1", "1e999"])
    expect(await refusal(limit("x", { "requests.cpu": amount }))).toContain("is not an amount");
});

it("status.used follows the machines", async () => {
  const stop = new AbortController();
  const running = runQuotaReconciler({
    client: plane.client,
    clock: systemClock,
    log: silentLogger,
    signal: stop.signal,
  });
  await create("a", { cpus: 2 });
  await limit("used", {
    [COUNT]: 5,
    "requests.cpu": "2500m",
    "requests.memory": "1Gi",
    "requests.storage": 0,
  });
  const used = (wanted: Amounts) =>
    untilObject(plane.client, ResourceQuota, at("used"), `used ${JSON.stringify(wanted)}`, ({ status }) =>
      Object.entries(wanted).every(([name, amount]) => status?.used?.[name] === amount),
    );
  const quota = await used({
    [COUNT]: "1",
    "requests.cpu": "2",
    "requests.memory": "64Mi",
    "requests.storage": "0",
  });
  expect(quota.status?.hard).toEqual(quota.spec.hard);
  await plane.client.patch(VirtualMachine, at("a"), { spec: { memory: "128Mi" } });
  await used({ "requests.memory": "128Mi" });
  await plane.client.delete(VirtualMachine, at("a"));
  await used({ [COUNT]: "0", "requests.cpu": "0", "requests.memory": "0" });
  stop.abort();
  await running;
});
