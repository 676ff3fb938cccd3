/** What a source tells of a machine's disks is what a target makes, file for file. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance, StoragePool } from "../../compute/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { run } from "../../system/run.ts";
import type { Facts } from "./layer-records.ts";
import { apart, copiesBesides, describeVolumes, makeCopies } from "./volume-copies.ts";
import { ensureVolumes, layersOf } from "./volumes.ts";

const [A, B, ROLLBACK] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((s) => `${s}-0000-4000-8000-000000000000`);
const FACTS: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" };

let folder: string;
let here: StoragePool;
let there: StoragePool;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-copies-"));
  [here, there] = (await Promise.all(["here", "there"].map(poolAt))) as [StoragePool, StoragePool];
});
afterEach(() => rmSync(folder, { recursive: true }));

async function poolAt(name: string): Promise<StoragePool> {
  const path = join(folder, name);
  mkdirSync(join(path, "images"), { recursive: true });
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(path, "images/base.qcow2"), "1M"]);
  const spec = { directory: { path, shared: false } };
  return { apiVersion: "vireo.dev/v1", kind: "StoragePool", metadata: { name: "default" }, spec };
}

const image: Image = {
  apiVersion: "vireo.dev/v1",
  kind: "Image",
  metadata: { name: "base" },
  spec: { storagePool: "default" },
  status: { file: "base.qcow2", format: "qcow2" },
};
const instance = (more: Partial<Instance["spec"]> = {}): Instance => ({
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
const LOGS = { disks: [{ name: "logs", size: "1Mi" }] };
const pools = (own: StoragePool) => ({ own, image, ofImage: own, shared: [] });

async function snapshot(uid: string | undefined, of: Instance): Promise<void> {
  const layers = layersOf(here, of);
  await layers.begin(uid ?? "");
  await layers.finish(uid ?? "", FACTS);
}

/** The files besides those of the guest's disks, at both ends; and those of its disks at the target. */
async function moved(source: Instance) {
  const { volumes, besides } = await describeVolumes(pools(here), source);
  const target = instance({ ...source.spec, incoming: true, copyDisks: volumes });
  await makeCopies(pools(there), target, volumes);
  await makeCopies(pools(there), target, volumes);
  const { disks } = await ensureVolumes(there, image, target);
  const all = copiesBesides(there, target);
  for (const { path } of besides) expect(existsSync(path), path).toBe(true);
  for (const { path } of [...disks, ...all]) expect(existsSync(path), path).toBe(true);
  expect(all.map(({ name }) => name)).toEqual(besides.map(({ name }) => name));
  const isApart = [...disks.map((disk) => apart(disk, volumes)), ...all];
  return {
    besides: besides.map(({ path }) => basename(path)),
    apart: isApart.flatMap((disk) => (disk.apart ? [basename(disk.path)] : [])),
  };
}

it("a tree of snapshots with a rollback in it", async () => {
  const source = instance(LOGS);
  await ensureVolumes(here, image, source);
  await snapshot(A, source);
  await snapshot(B, source);
  await layersOf(here, source).revert(ROLLBACK ?? "", A ?? "", undefined, FACTS);
  const { besides, apart } = await moved(source);
  expect(besides).toContain("root.qcow2");
  expect(besides).toContain("logs.data-aaaaaaaa0000.qcow2");
  expect(apart).toContain("root-cccccccc0000.qcow2");
  expect(apart).not.toContain("root.qcow2");
});

it("a disk that was detached when all that it is lay in the layer after a snapshot's", async () => {
  const source = instance(LOGS);
  await ensureVolumes(here, image, source);
  await snapshot(A, source);
  await layersOf(here, source).remove(A ?? "", async () => false);
  expect(await moved(instance())).toEqual({ besides: ["logs.data-aaaaaaaa0000.qcow2"], apart: [] });
  expect(existsSync(join(folder, "there/machines/default/a-01234567/logs.data.qcow2"))).toBe(true);
});
