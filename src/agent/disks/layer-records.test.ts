import { expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { describeMemory } from "./layer-records.ts";

it("tells what a run has whose memory is kept, not what it is asked for: its guest knows no disk that is still to come", () => {
  const nic = { network: "default", mac: "52:54:00:00:00:01", address: "10.0.0.3" };
  const data = { name: "data", size: "1Gi", port: 1 };
  const instance: Instance = {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name: "web-1" },
    spec: {
      vm: "web",
      vmUid: "u",
      image: "web",
      storagePool: "default",
      running: true,
      cpus: 2,
      memory: "320Mi",
      interfaces: [nic, { ...nic, network: "more", mac: "52:54:00:00:00:02" }],
      disks: [data, { name: "extra", size: "1Gi", port: 2 }],
    },
    status: {
      has: {
        ports: 8,
        cpus: { begun: 1, now: 1, most: 2 },
        memory: { begun: "64Mi", modules: ["128Mi"], most: "1Gi" },
        disks: [data],
        interfaces: [nic],
      },
    },
  };
  const had = { cpus: 1, memory: "192Mi", networks: ["default"], disks: ["data"] };
  expect(describeMemory(instance)).toMatchObject(had);
  // Of an older agent's it is not known.
  const { status: _, ...untold } = instance;
  expect(describeMemory(untold)).toMatchObject({ cpus: 2, memory: "320Mi", disks: ["data", "extra"] });
});
