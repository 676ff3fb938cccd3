/** A machine's run, its image and a pool, for tests of what is on disk. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { run } from "../../system/run.ts";

export const IMAGE: Image = {
  apiVersion: "vireo.dev/v1",
  kind: "Image",
  metadata: { name: "base" },
  spec: { storagePool: "default" },
  status: { file: "base.qcow2", format: "qcow2" },
};

export const instanceOf = (more: Partial<Instance["spec"]> = {}): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name: "a-1", namespace: "default", uid: "u" },
  spec: {
    vm: "a",
    vmUid: "01234567-0000-4000-8000-000000000000",
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "base",
    storagePool: "default",
    interfaces: [],
    ...more,
  },
});

/** With the image's file in it, 1 MiB of nothing. */
export async function poolAt(path: string, shared: boolean): Promise<StoragePool> {
  mkdirSync(join(path, "images"), { recursive: true });
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(path, "images/base.qcow2"), "1M"]);
  const spec = { directory: { path, shared } };
  return { apiVersion: "vireo.dev/v1", kind: "StoragePool", metadata: { name: "default" }, spec };
}
