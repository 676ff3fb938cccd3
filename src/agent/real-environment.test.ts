/** That the networks of a host come to be, whatever fails at first; and what is left of a run on its host. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, until } from "../compute/testing/control-plane.ts";
import { type Logger, silentLogger } from "../reconcile/log.ts";
import { identify } from "../system/process.ts";
import { ForeignDiskError } from "./disks/bases.ts";
import { leftEnclosures } from "./disks/enclosed-img.ts";
import type { HostNetworking } from "./network/host-networks.ts";
import { memoryObstacle, RealEnvironment } from "./real-environment.ts";
import { pretendTool } from "./testing/pretend-layers.ts";
import { instanceOf } from "./testing/volumes.ts";

const NO_NETWORKS: HostNetworking = {
  ensure: async () => {},
  ensureKnown: async () => {},
  ensureTap: async () => "tap",
  removeTap: async () => {},
  guard: async () => {},
  remove: async () => {},
  traces: async () => [],
};
const HERE = {
  host: "h1",
  address: "10.0.0.1",
  platform: { accelerator: "tcg", cpuModel: "Xeon" },
  log: silentLogger,
} as const;

const tool = pretendTool(new Map(), () => false);

it("a network that could not be made is tried again; the others do not wait for it", async () => {
  const { client, close } = await openControlPlane();
  await client.create(Network, { metadata: { name: "bad" }, spec: { subnet: "10.1.0.0/24" } });
  await client.create(Network, { metadata: { name: "good" }, spec: { subnet: "10.2.0.0/24" } });
  const stop = new AbortController();
  const tried: string[] = [];
  await new Promise<void>((done) => {
    const environment = new RealEnvironment({
      client,
      ...HERE,
      networking: {
        ...NO_NETWORKS,
        ensure: async ({ metadata }) => {
          tried.push(metadata.name);
          if (metadata.name !== "bad") return;
          if (tried.filter((name) => name === "bad").length < 3) throw new Error("no such device");
          done();
        },
      },
    });
    void environment.start(stop.signal);
  });
  stop.abort();
  expect(tried).toEqual(["bad", "good", "bad", "bad"]);
  await close();
});

it("the memory of a snapshot goes on where its guest sees the same CPU, and nowhere else", () => {
  const here = { accelerator: "kvm", cpuModel: "EPYC", guestCpus: ["Westmere"] } as const;
  const kind = "snapshot";
  const kept = { kind, accelerator: "kvm", cpuModel: "Xeon" } as const;
  expect(memoryObstacle({ ...kept, guestCpu: "Westmere" }, here)).toBeUndefined();
  expect(memoryObstacle({ ...kept, guestCpu: "Haswell" }, here)).toMatch(/the CPU Haswell.*memory: false/);
  expect(memoryObstacle({ ...kept, guestCpu: "host" }, here)).toMatch(/its CPU is EPYC/);
  expect(memoryObstacle({ ...kept, cpuModel: "EPYC", guestCpu: "host" }, here)).toBeUndefined();
  expect(memoryObstacle({ kind, accelerator: "kvm" }, here)).toBeUndefined();
  expect(memoryObstacle({ kind, accelerator: "tcg", guestCpu: "qemu64" }, here)).toMatch(/under kvm/);
});

it("the end of a run that came with copies of its disks never takes them, whatever a power cut brought back; that of a target which never ran does", async () => {
  const { client, close } = await openControlPlane();
  const path = mkdtempSync(join(tmpdir(), "vireo-release-"));
  const spec = { directory: { path, shared: false } };
  await client.create(StoragePool, { metadata: { name: "local" }, spec });
  const environment = new RealEnvironment({ client, ...HERE, networking: NO_NETWORKS });
  const target = instanceOf({
    storagePool: "local",
    host: "h1",
    incoming: true,
    copyDisks: { disks: [], seedBytes: 1, origin: { file: "base.qcow2" } },
  });
  const folder = join(path, "machines/default/a-01234567");
  const release = async (reason: "HostRebooted" | "MigrationFailed") => {
    mkdirSync(folder, { recursive: true });
    for (const file of ["root.qcow2", "seed.img"]) writeFileSync(join(folder, file), "");
    writeFileSync(join(folder, "copy.json"), JSON.stringify({ instance: target.metadata.uid }));
    const end = { reason, message: "", time: "2026-01-01T00:00:00Z" };
    await environment.release({ ...target, status: { phase: "Failed", custody: "Released", end } });
  };
  await release("HostRebooted");
  expect(existsSync(join(folder, "root.qcow2"))).toBe(true);
  await release("MigrationFailed");
  expect(existsSync(folder)).toBe(false);
  rmSync(path, { recursive: true });
  await close();
});

it("what work on a machine's disks has left is told once nobody works on them, of the run that has them or had them last", async () => {
  const { client, close } = await openControlPlane();
  const path = mkdtempSync(join(tmpdir(), "vireo-traces-"));
  await client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path, shared: true } },
  });
  const meta = { name: "a", namespace: "default" };
  const vm = await client.create(VirtualMachine, { metadata: meta, spec: { image: "base", memory: "64Mi" } });
  const { spec } = instanceOf({ vmUid: vm.metadata.uid ?? "", host: "h1" });
  const begin = async (name: string) => {
    const sequence = Number(name.slice(2));
    await client.patch(VirtualMachine, meta, { status: { sequence } }, { subresource: "status" });
    const { metadata } = await client.create(Instance, { metadata: { ...meta, name }, spec });
    return async (custody: "Held" | "Released") => {
      const status = { custody, phase: custody === "Held" ? "Running" : "Stopped" } as const;
      await client.patch(Instance, metadata, { status }, { subresource: "status" });
    };
  };
  const folder = join(path, `machines/default/a-${vm.metadata.uid?.slice(0, 8)}`);
  const left = join(folder, "snapshots/cccccccc-0000-4000-8000-000000000000.memory");
  mkdirSync(join(folder, "snapshots"), { recursive: true });
  writeFileSync(left, "");
  // Whatever else is on this host.
  vi.stubEnv("TMPDIR", path);
  onTestFinished(() => void vi.unstubAllEnvs());

  const stop = new AbortController();
  const unread: unknown[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (event, fields) => event === "disks.left" && unread.push(fields),
  };
  const environment = new RealEnvironment({ client, ...HERE, log, networking: NO_NETWORKS });
  await environment.start(stop.signal);
  const traces = async () => {
    const { items: instances } = await client.list(Instance);
    const owners = { instances, oddInstances: new Set<string>(), networks: new Set<string>() };
    return (await environment.traces()).filter((trace) => !trace.isNeeded(owners));
  };
  const told = (wanted: string[]) =>
    until("what is left", async () => {
      const names = (await traces()).map(({ what }) => what);
      return JSON.stringify(names) === JSON.stringify(wanted) ? true : undefined;
    });

  const first = await begin("a-1");
  await told([]); // it may be another's still
  await first("Held");
  await told([left]);
  const busy = { action: "Take", name: "s", uid: "cccccccc-0000-4000-8000-000000000000" } as const;
  const claim = (disksBusy: typeof busy | null) =>
    client.patch(VirtualMachine, meta, { status: { disksBusy } }, { subresource: "status" });
  const [before] = await traces();
  await claim(busy);
  await told([]);
  await before?.remove();
  expect(existsSync(left)).toBe(true);
  await claim(null);
  await first("Released");
  await told([left]);
  const second = await begin("a-2");
  await told([]);
  await second("Released");
  await told([left]);
  expect(unread).toEqual([]);
  // What cannot be read of it keeps nothing else.
  await tool.create(join(folder, "root-dddddddd0000.qcow2"), "/etc/shadow", 0, { uid: 0, gid: 0 });
  await told([left]);
  expect(unread).toContainEqual({ instance: "default/a-2", error: expect.any(ForeignDiskError) });
  for (const { remove } of await traces()) await remove();
  expect(existsSync(left)).toBe(false);
  stop.abort();
  rmSync(path, { recursive: true });
  await close();
});

it("the disks of a machine that runs since before it was written down what they stand on: snapshots of it are taken, and it moves", async () => {
  const { client, close } = await openControlPlane();
  const path = mkdtempSync(join(tmpdir(), "vireo-adopt-"));
  for (const name of ["default", "library"]) {
    mkdirSync(join(path, name, "images"), { recursive: true });
    const spec = { directory: { path: join(path, name), shared: true } };
    await client.create(StoragePool, { metadata: { name }, spec });
  }
  const image = join(path, "library/images/base.qcow2");
  writeFileSync(image, "");
  const environment = new RealEnvironment({ client, ...HERE, networking: NO_NETWORKS });
  const instance = instanceOf({ host: "h1" });
  const folder = join(path, "default/machines/default/a-01234567");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "seed.img"), "");
  writeFileSync(join(folder, "boot.json"), JSON.stringify({ file: "base.qcow2" }));
  const root = join(folder, "root.qcow2");
  await tool.create(root, image, 0, { uid: 0, gid: 0 });
  const forget = () => rmSync(join(folder, "root.base"), { force: true });
  expect(await (await environment.layers(instance)).tree()).toEqual({ tree: [] });
  forget();
  const below = { pool: "library", file: "base.qcow2", format: "qcow2" };
  expect((await environment.volumes(instance)).volumes.disks).toMatchObject([{ name: "root", below }]);
  // What is no image's stays what it is.
  forget();
  await tool.restore(root, "/etc/shadow");
  await expect((await environment.layers(instance)).tree()).rejects.toThrow(ForeignDiskError);
  rmSync(path, { recursive: true });
  await close();
});

it("of folders in which qemu-img sees its disks, those of agents that are gone are left", async () => {
  const path = mkdtempSync(join(tmpdir(), "vireo-enclosures-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  vi.stubEnv("TMPDIR", path);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { pid, startTime } = identify(process.pid) ?? { pid: 0, startTime: "" };
  const [gone, used] = [`vireo-disks-${pid}-${Number(startTime) - 1}-a`, `vireo-disks-${pid}-${startTime}-a`];
  for (const name of [gone, used, "vireo-disks-other"])
    mkdirSync(join(path, name, "root"), { recursive: true });
  writeFileSync(join(path, `${gone}.txt`), ""); // no folder
  const left = await leftEnclosures();
  expect(left.map(({ what }) => what)).toEqual([join(path, gone)]);
  for (const { remove } of left) await remove();
  expect(existsSync(join(path, gone))).toBe(false);
  expect(existsSync(join(path, used))).toBe(true);
});
