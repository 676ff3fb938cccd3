import { afterEach, beforeEach, expect, it } from "vitest";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { Image } from "../images/kinds.ts";
import { waitForMachines } from "./watch-vms.ts";

const NS = "default";
let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

async function image(name: string, phase: "Ready" | "Failed"): Promise<void> {
  const made = await plane.client.create(Image, { metadata: { name }, spec: { file: "x.qcow2" } });
  const Ready = { type: "Ready", status: "False", reason: "Failed", message: "no such package" } as const;
  const conditions = [{ ...Ready, lastTransitionTime: new Date().toISOString(), observedGeneration: 1 }];
  await plane.client.updateStatus(Image, { ...made, status: { phase, conditions } });
}
/** One that has come to rest. */
async function resting(
  name: string,
  phase: "Suspended" | "Paused" | "Stopped" | "Failed",
  spec = {},
): Promise<void> {
  const { client } = plane;
  const metadata = { name, namespace: NS };
  const vm = await client.create(VirtualMachine, {
    metadata,
    spec: { image: "good", memory: "64Mi", ...spec },
  });
  const { generation: observedGeneration = 0 } = vm.metadata;
  await client.updateStatus(VirtualMachine, { ...vm, status: { phase, observedGeneration } });
}
async function machine(name: string, image: string, runs: boolean): Promise<void> {
  const { client } = plane;
  const metadata = { name, namespace: NS };
  const vm = await client.create(VirtualMachine, { metadata, spec: { image, memory: "64Mi" } });
  const instance = `${name}-1`;
  const status = { sequence: 1, instance, phase: runs ? "Running" : "Pending" } as const;
  await client.updateStatus(VirtualMachine, { ...vm, status });
  if (!runs) return;
  const made = await client.create(Instance, {
    metadata: { name: instance, namespace: NS },
    spec: { vm: name, vmUid: vm.metadata.uid ?? "", memory: "64Mi", image, interfaces: [] },
  });
  await client.updateStatus(Instance, { ...made, status: { phase: "Running" } });
}
const wait = async (timeoutMs: number) => {
  const outcome = await waitForMachines(plane.client, () => {}, timeoutMs);
  return { ...outcome, running: outcome.running.map(({ metadata }) => metadata.name) };
};

it("an image that failed keeps no other machine from being waited for and shown", async () => {
  await image("good", "Ready");
  await image("bad", "Failed");
  await machine("web", "good", true);
  await machine("db", "bad", false);
  expect(await wait(60_000)).toEqual({
    running: ["web"],
    missing: ["image/bad: Failed: no such package", "vm/db: Pending"],
  });
});

it("when the time is over, what runs is told as well as what does not", async () => {
  await image("good", "Ready");
  await machine("web", "good", true);
  await machine("late", "good", false);
  expect(await wait(0)).toEqual({ running: ["web"], missing: ["vm/late: Pending (after 0 s)"] });
});

it("all run: nothing is missing", async () => {
  await machine("web", "good", true);
  expect(await wait(60_000)).toEqual({ running: ["web"], missing: [] });
});

it("machines that rest as somebody wants are neither waited for nor missing; one that broke down is missing at once", async () => {
  await image("good", "Ready");
  await resting("suspended", "Suspended", { suspended: true });
  await resting("paused", "Paused", { paused: true });
  await resting("down", "Stopped");
  expect(await wait(60_000)).toEqual({ running: [], missing: [] });
  await resting("stuck", "Paused");
  await resting("broken", "Failed");
  expect(await wait(60_000)).toEqual({ running: [], missing: ["vm/broken: Failed", "vm/stuck: Paused"] });
});

it("one that is to be another than it was seen is waited for", async () => {
  await image("good", "Ready");
  await resting("again", "Stopped");
  await plane.client.patch(VirtualMachine, { name: "again", namespace: NS }, { spec: { cpus: 2 } });
  expect((await wait(0)).missing).toEqual(["vm/again: Stopped (after 0 s)"]);
});

it("a version of an image that failed is not waited for either", async () => {
  await image("bad", "Failed");
  await machine("web", "bad:stable", false);
  expect((await wait(60_000)).missing).toContain("vm/web: Pending");
});
