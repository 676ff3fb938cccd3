/** That the networks of a host come to be, whatever fails at first; and what is left of a run on its host. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Network } from "../compute/networks/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import type { HostNetworking } from "./network/host-networks.ts";
import { memoryObstacle, RealEnvironment } from "./real-environment.ts";
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
