/** A machine's data disks are made once, beside its system disk, and are layers as that one. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { run } from "../../system/run.ts";
import { instanceOf } from "../testing/volumes.ts";
import { Copies } from "./copies.ts";
import type { Facts } from "./layer-records.ts";
import { layersOf } from "./volume-places.ts";
import { ensureVolumes } from "./volumes.ts";

let pool: string;
beforeEach(async () => {
  pool = mkdtempSync(join(tmpdir(), "vireo-data-"));
  mkdirSync(join(pool, "images"));
  for (const [name, size] of [
    ["base", "1M"],
    ["files", "3M"],
  ])
    await run("qemu-img", ["create", "-q", "-f", "qcow2", join(pool, `images/${name}.qcow2`), size ?? ""]);
});
afterEach(() => rmSync(pool, { recursive: true }));

const storagePool = (): StoragePool => ({
  apiVersion: "vireo.dev/v1",
  kind: "StoragePool",
  metadata: { name: "default" },
  spec: { directory: { path: pool, shared: true } },
});
const image = (name: string, virtualBytes: number): Image => ({
  apiVersion: "vireo.dev/v1",
  kind: "Image",
  metadata: { name },
  spec: { storagePool: "default" },
  status: { phase: "Ready", file: `${name}.qcow2`, format: "qcow2", virtualBytes },
});
const instance = (disks: NonNullable<Instance["spec"]["disks"]>, more: Partial<Instance["spec"]> = {}) =>
  instanceOf({ disks, ...more });
const prepare = (of: Instance) =>
  ensureVolumes(storagePool(), image("base", 2 ** 20), of, {
    imageNamed: async (name) => (name === "files" ? image(name, 3 * 2 ** 20) : undefined),
    copies: new Copies(),
  });
const file = (name: string) => join(pool, "machines/default/a-01234567", name);
const sizeOf = async (path: string): Promise<unknown> =>
  JSON.parse(await run("qemu-img", ["info", "--output=json", path]))["virtual-size"];

it("empty ones and those of an image; made once, kept when they are not named, and there again when they are", async () => {
  const both = instance([
    { name: "logs", size: "2Mi" },
    { name: "files", image: "files" },
  ]);
  const { disks } = await prepare(both);
  expect(disks.slice(2)).toEqual([
    {
      name: "logs",
      path: file("logs.data.qcow2"),
      format: "qcow2",
      readOnly: false,
      sizeBytes: 2 * 2 ** 20,
    },
    { name: "files", path: file("files.data.qcow2"), format: "qcow2", readOnly: false },
  ]);
  expect(await sizeOf(file("logs.data.qcow2"))).toBe(2 * 2 ** 20);
  expect(await sizeOf(file("files.data.qcow2"))).toBe(3 * 2 ** 20);
  await run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 64k", file("logs.data.qcow2")]);
  expect((await prepare(instance([], { volumesExist: true }))).disks).toHaveLength(2);
  expect((await prepare(both)).disks).toEqual(disks);
  await run("qemu-io", ["-f", "qcow2", "-c", "read -P 7 0 64k", file("logs.data.qcow2")]);
  // It grows while nobody has it open.
  await prepare(instance([{ name: "logs", size: "4Mi" }], { volumesExist: true }));
  expect(await sizeOf(file("logs.data.qcow2"))).toBe(4 * 2 ** 20);
});

it("say what is missing: an image, room for it, or the disk itself where the machine moves to", async () => {
  await expect(prepare(instance([{ name: "x", image: "none" }]))).rejects.toThrow(
    "spec.disks: the image none of x is not ready: Pending",
  );
  await expect(prepare(instance([{ name: "x", image: "files", size: "2Mi" }]))).rejects.toThrow(
    "x is to have 2Mi, but its image files has 3Mi; make it at least that large",
  );
  await prepare(instance([]));
  await expect(prepare(instance([{ name: "x", size: "2Mi" }], { incoming: true }))).rejects.toThrow(
    "the disk x of a, is not on this host; is its storage pool really shared?",
  );
});

it("are in snapshots; a rollback takes them back, and leaves one alone that was added later", async () => {
  const facts: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Stopped" };
  const [snapshot, rollback] = ["aaaaaaaa", "bbbbbbbb"].map((s) => `${s}-0000-4000-8000-000000000000`);
  const before = instance([
    { name: "logs", size: "2Mi" },
    { name: "cd", size: "2Mi", readOnly: true },
  ]);
  await prepare(before);
  const first = layersOf(storagePool(), before);
  await first.begin(snapshot ?? "");
  const taken = await first.finish(snapshot ?? "", facts);
  expect(taken.disks.map(({ name }) => name)).toEqual(["root", "logs.data"]);
  const later = instance([
    { name: "logs", size: "2Mi" },
    { name: "new", size: "2Mi" },
  ]);
  await prepare(later);
  await run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 64k", file("new.data.qcow2")]);
  await layersOf(storagePool(), later).revert(rollback ?? "", snapshot ?? "", undefined, facts);
  await layersOf(storagePool(), later).collect(async () => false);
  const { disks } = await prepare(later);
  expect(disks[2]?.path).toBe(file("logs.data-bbbbbbbb0000.qcow2"));
  await run("qemu-io", ["-f", "qcow2", "-c", "read -P 7 0 64k", disks[3]?.path ?? ""]);
});
