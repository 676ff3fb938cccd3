/** Disks and network cards that have their place by their order alone keep it, whatever becomes of spec meanwhile: over a move, and over a suspension. Pretended guests. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Migration } from "../src/compute/migrations/kinds.ts";
import { Network } from "../src/compute/networks/kinds.ts";
import { untilObject } from "../src/compute/testing/control-plane.ts";
import { PretendEstate } from "./support/pretend-estate.ts";

const AT = { name: "web", namespace: "default" };
const disks = ["data", "logs"].map((name) => ({ name, size: "1Gi" }));
const networks = ["default", "dmz"];

let pretended: PretendEstate;
beforeEach(async () => {
  pretended = await PretendEstate.open(["a", "b"]);
  const { estate } = pretended;
  await estate.client.create(Network, { metadata: { name: "dmz" }, spec: { subnet: "10.78.0.0/24" } });
  await estate.createMachine("web", {
    hardware: { board: "pc" },
    readiness: { none: true },
    disks,
    networks,
  });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
});
afterEach(() => pretended.close());

/** What QEMU has, in its order. */
async function devices() {
  const { config, host } = await pretended.guest();
  return { host, disks: config.disks.map(({ name }) => name), macs: config.nics.map(({ mac }) => mac) };
}

/** Asks for it, and waits until it is told that it waits. */
async function change(spec: Partial<VirtualMachine["spec"]>, ...fields: string[]): Promise<void> {
  const { estate } = pretended;
  await estate.client.patch(VirtualMachine, AT, { spec });
  const pending = ({ status }: VirtualMachine) => status?.pendingChanges?.map(({ field }) => field) ?? [];
  await estate.vm("web", (vm) => fields.every((field) => pending(vm).includes(field)), `${fields} pending`);
}

async function move(to: string): Promise<void> {
  const { client } = pretended.estate;
  await client.create(Migration, { metadata: { ...AT, name: to }, spec: { vm: "web", to } });
  const at = { ...AT, name: to };
  await untilObject(client, Migration, at, "over", (m) => m.status?.finishedTime !== undefined);
  expect((await client.get(Migration, at))?.status).toMatchObject({ phase: "Succeeded" });
}

it("a machine that is to have a disk and a network less moves with both, each in its place", async () => {
  const before = await devices();
  await change({ disks: disks.slice(1), networks: ["dmz"] }, "disks[data]", "networks[default]");
  await move("b");
  expect(await devices()).toEqual({ ...before, host: "b" });
  expect(pretended.world.unfit).toEqual([]);
});

it("one whose disks and networks are to be in another order moves, and goes on with its memory, as it began", async () => {
  const before = await devices();
  const { estate } = pretended;
  await change({ disks: disks.toReversed(), networks: networks.toReversed() }, "disks", "networks");
  await move("b");
  expect(await devices()).toEqual({ ...before, host: "b" });

  await estate.client.patch(VirtualMachine, AT, { spec: { suspended: true } });
  await estate.vm("web", (vm) => vm.status?.phase === "Suspended", "Suspended");
  pretended.bindTo = "b";
  await estate.client.patch(VirtualMachine, AT, { spec: { suspended: false } });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
  expect(await devices()).toEqual({ ...before, host: "b" });
  // Still told, and still so after one more move.
  await change({}, "disks", "networks");
  await move("a");
  expect(await devices()).toEqual({ ...before, host: "a" });

  await estate.client.patch(VirtualMachine, AT, { spec: { running: false } });
  await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
  await estate.client.patch(VirtualMachine, AT, { spec: { running: true } });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
  expect((await devices()).macs).toEqual(before.macs.toReversed());
  await estate.vm("web", (vm) => (vm.status?.pendingChanges ?? []).length === 0, "nothing pending");
});
