/** A storage pool in a temporary folder and machines with hardware of their own in it, as an agent makes them, on a real QEMU. */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Hardware, hardwareOf } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { userOf } from "../disks/volume-places.ts";
import { ensureVolumes } from "../disks/volumes.ts";
import type { MachineConfig, MachineId } from "../hypervisor.ts";
import { newId, type RealMachines } from "./real-machines.ts";

const TYPE = { apiVersion: "vireo.dev/v1" } as const;

export class HardwarePool {
  readonly pool: StoragePool;
  readonly image: Image;
  readonly #vmUid = newId();

  /** @param write writes the raw disk of the image */
  constructor(
    machines: RealMachines,
    write: (path: string) => void,
    boot?: NonNullable<Image["status"]>["boot"],
  ) {
    const path = join(machines.folder, "pool");
    mkdirSync(join(path, "images"), { recursive: true });
    write(join(path, "images/disk.raw"));
    chmodSync(join(path, "images/disk.raw"), 0o644);
    this.pool = {
      ...TYPE,
      kind: "StoragePool",
      metadata: { name: "default" },
      spec: { directory: { path, shared: true } },
    };
    this.image = {
      ...TYPE,
      kind: "Image",
      metadata: { name: "disk" },
      spec: { storagePool: "default", file: "disk.raw" },
      status: { phase: "Ready", file: "disk.raw", format: "raw", ...(boot ? { boot } : {}) },
    };
  }

  instance(hardware: Hardware, more: Partial<Instance["spec"]> = {}): Instance {
    return {
      ...TYPE,
      kind: "Instance",
      metadata: { name: "odd-1", namespace: "default", uid: newId() },
      spec: {
        vm: "odd",
        vmUid: this.#vmUid,
        running: true,
        cpus: 1,
        memory: "128Mi",
        image: "disk",
        storagePool: "default",
        interfaces: [],
        hardware,
        ...more,
      },
    };
  }

  /** What the agent would start. */
  async config(instance: Instance, id: MachineId = newId()): Promise<MachineConfig> {
    const { saved: _, ...volumes } = await ensureVolumes(this.pool, this.image, instance);
    return {
      id,
      name: instance.metadata.name,
      cpus: instance.spec.cpus,
      memory: parseBytes(instance.spec.memory),
      nics: [],
      accelerator: "tcg",
      hardware: hardwareOf(instance.spec.hardware),
      user: userOf(instance.spec),
      ...volumes,
    };
  }
}
