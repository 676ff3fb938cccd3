/** What is told of changes that the host has not the memory for, with a hypervisor and a host played by hand; real ones: changes.real.test.ts. */
import { expect, it } from "vitest";
import type { Has, Refused } from "../../compute/changes/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { Fixed } from "../../qemu/fixed.ts";
import type { LackingMemory } from "../../qemu/hot-memory.ts";
import type { Adjusted, Refusal } from "../../qemu/hotplug.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import type { Adjustable } from "../hypervisor.ts";
import { newId } from "../testing/real-machines.ts";
import { asKept, Changes } from "./changes.ts";

const has: Has = {
  ports: 0,
  disks: [],
  interfaces: [],
  cpus: { begun: 1, now: 1, most: 1 },
  memory: { begun: "1Gi", modules: [], most: "8Gi" },
};
let instance: Instance;

it("a machine that its host has not the memory for goes on with what it has, and gets it when there is room", async () => {
  instance = {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name: "web-1", namespace: "default", uid: "u" },
    spec: {
      vm: "web",
      vmUid: "v",
      cpus: 1,
      memory: "2Gi",
      image: "i",
      storagePool: "p",
      interfaces: [],
      running: true,
      host: "a",
    },
    status: { custody: "Held", phase: "Running", pid: 1, has },
  };
  let lacking: LackingMemory = {};
  const [events, writes]: [string[], Refused[][]] = [[], []];
  const adjust = async (_id: string, wanted: Adjustable): Promise<Adjusted & Fixed> => {
    const refused: Refusal[] = [];
    const { memory, memoryTarget } = wanted.lacking ?? {};
    if (memory) refused.push({ of: "memory", why: memory });
    if (memoryTarget) refused.push({ of: "memoryTarget", why: memoryTarget });
    const fixed = { disks: [], nics: [] };
    return { disks: [], nics: [], fixed, cpus: 1, modules: memory ? [] : [wanted.memory - 2 ** 30], refused };
  };
  const changes = new Changes(
    {
      hypervisor: { adjust },
      environment: {
        devices: async () => ({ disks: [], nics: [] }),
        growthLack: () => lacking,
        releaseInterface: async () => undefined,
      },
      log: silentLogger,
      events: {
        record: ({ name }, type, reason, message) => events.push(`${name} ${type} ${reason} ${message}`),
      },
    },
    async (_instance, change) => {
      writes.push(change.refused);
      instance = { ...instance, status: { ...instance.status, ...change } };
    },
  );

  lacking = { memory: "host a has 3Mi" };
  expect(await changes.step(instance)).toBe(true);
  expect(instance.status?.refused).toEqual([{ field: "memory", reason: "host a has 3Mi" }]);
  expect(instance.status?.has).toEqual(has);
  // The figure changes all the time.
  lacking = { memory: "host a has 4Mi" };
  expect(await changes.step(instance)).toBe(true);
  expect([events, writes.length]).toEqual([["web Warning MemoryShort memory: host a has 3Mi"], 1]);
  // Another wish, another word.
  instance = { ...instance, spec: { ...instance.spec, memory: "3Gi" } };
  expect(await changes.step(instance)).toBe(true);
  expect(events[1]).toBe("web Warning MemoryShort memory: host a has 4Mi");
  lacking = { memoryTarget: "host a has 5Mi" };
  expect(await changes.step(instance)).toBe(true);
  expect(instance.status?.refused).toEqual([{ field: "memoryTarget", reason: "host a has 5Mi" }]);
  expect(instance.status?.has?.memory?.modules).toEqual([formatBytes(2 ** 31)]);
  lacking = {};
  expect(await changes.step(instance)).toBe(false);
  expect([instance.status?.refused, events.length]).toEqual([[], 3]);
});

const named = (...names: string[]) => names.map((name) => ({ name, size: "1Gi" }));
const nic = (network: string, n: number) => ({
  network,
  mac: `52:54:00:00:00:0${n}`,
  address: `10.0.${n}.2`,
});
const [lan, dmz] = [nic("lan", 1), nic("dmz", 2)];

it("what a run has is told in the order in which its QEMU has it, whatever its spec says by now", async () => {
  const spec = { ...instance.spec, disks: named("logs", "data"), interfaces: [dmz, lan] };
  const ordered = {
    ...instance,
    spec,
    status: { ...instance.status, has: { ...has, disks: spec.disks, interfaces: spec.interfaces } },
  };
  const fixed = { disks: ["data", "logs"], nics: ["525400000001", "525400000002"] };
  const told: Has[] = [];
  const changes = new Changes(
    {
      hypervisor: {
        adjust: async () => ({ disks: [], nics: [], fixed, cpus: 1, modules: [], refused: [] }),
      },
      environment: {
        devices: async () => ({ disks: [], nics: [] }),
        growthLack: () => ({}),
        releaseInterface: async () => undefined,
      },
      log: silentLogger,
      events: { record: () => undefined },
    },
    async (_instance, change) => told.push(change.has),
  );
  await changes.step(ordered);
  expect(told).toMatchObject([{ disks: named("data", "logs"), interfaces: [lan, dmz] }]);
});

it("a machine goes on with kept memory in the order of then", () => {
  const spec = { ...instance.spec, disks: named("logs", "data"), interfaces: [dmz, lan] };
  const disk = (name?: string) => ({
    ...(name ? { name } : {}),
    path: `/p/${name}`,
    format: "qcow2" as const,
    readOnly: false,
  });
  const card = ({ mac }: typeof lan) => ({ mac, mtu: 1500, backend: { user: true } as const });
  const config = {
    id: newId(),
    name: "web",
    cpus: 1,
    memory: parseBytes("1Gi"),
    accelerator: "tcg" as const,
    user: { uid: 1, gid: 1 },
    disks: [disk(), disk(), disk("logs"), disk("data")],
    nics: [card(dmz), card(lan)],
  };
  // Another machine's, whose networks it has under other addresses.
  const then = { ...has, disks: named("data", "logs"), interfaces: [nic("lan", 3), nic("dmz", 4)] };
  const kept = asKept(config, { ...instance, spec }, then);
  expect(kept.config.disks.map(({ name }) => name)).toEqual([undefined, undefined, "data", "logs"]);
  expect(kept.config.nics.map(({ mac }) => mac)).toEqual([lan.mac, dmz.mac]);
  expect(kept.has).toMatchObject({ disks: named("data", "logs"), interfaces: [lan, dmz] });
});
