/** That the networks of a host come to be, whatever fails at first. */
import { expect, it } from "vitest";
import { Network } from "../compute/networks/kinds.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { memoryObstacle, RealEnvironment } from "./real-environment.ts";

it("a network that could not be made is tried again; the others do not wait for it", async () => {
  const { client, close } = await openControlPlane();
  await client.create(Network, { metadata: { name: "bad" }, spec: { subnet: "10.1.0.0/24" } });
  await client.create(Network, { metadata: { name: "good" }, spec: { subnet: "10.2.0.0/24" } });
  const stop = new AbortController();
  const tried: string[] = [];
  await new Promise<void>((done) => {
    const environment = new RealEnvironment({
      client,
      host: "h1",
      address: "10.0.0.1",
      platform: { accelerator: "tcg", cpuModel: "Xeon" },
      log: silentLogger,
      networking: {
        ensure: async ({ metadata }) => {
          tried.push(metadata.name);
          if (metadata.name !== "bad") return;
          if (tried.filter((name) => name === "bad").length < 3) throw new Error("no such device");
          done();
        },
        ensureKnown: async () => {},
        ensureTap: async () => "tap",
        removeTap: async () => {},
        guard: async () => {},
        remove: async () => {},
        traces: async () => [],
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
