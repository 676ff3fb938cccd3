/** What a source tells of a machine's disks is what a target makes, file for file. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { IMAGE, instanceOf, poolAt } from "../testing/volumes.ts";
import type { Facts } from "./layer-records.ts";
import { apart, copiesBesides, describeVolumes, makeCopies } from "./volume-copies.ts";
import { layersOf } from "./volume-places.ts";
import { ensureVolumes } from "./volumes.ts";

const [A, B, ROLLBACK] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((s) => `${s}-0000-4000-8000-000000000000`);
const FACTS: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" };

let folder: string;
let here: StoragePool;
let there: StoragePool;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-copies-"));
  here = await poolAt(join(folder, "here"), false);
  there = await poolAt(join(folder, "there"), false);
});
afterEach(() => rmSync(folder, { recursive: true }));

const LOGS = { disks: [{ name: "logs", size: "1Mi" }] };
const pools = (own: StoragePool) => ({ own, image: IMAGE, ofImage: own, shared: [] });

async function snapshot(uid: string | undefined, of: Instance): Promise<void> {
  const layers = layersOf(here, of);
  await layers.begin(uid ?? "");
  await layers.finish(uid ?? "", FACTS);
}

/** The files besides those of the guest's disks, at both ends; and those of its disks at the target. */
async function moved(source: Instance) {
  const { volumes, besides } = await describeVolumes(pools(here), source);
  const target = instanceOf({ ...source.spec, incoming: true, copyDisks: volumes });
  await makeCopies(pools(there), target, volumes);
  await makeCopies(pools(there), target, volumes);
  const { disks } = await ensureVolumes(there, IMAGE, target);
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
  const source = instanceOf(LOGS);
  await ensureVolumes(here, IMAGE, source);
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
  const source = instanceOf(LOGS);
  await ensureVolumes(here, IMAGE, source);
  await snapshot(A, source);
  await layersOf(here, source).remove(A ?? "", async () => false);
  expect(await moved(instanceOf())).toEqual({ besides: ["logs.data-aaaaaaaa0000.qcow2"], apart: [] });
  expect(existsSync(join(folder, "there/machines/default/a-01234567/logs.data.qcow2"))).toBe(true);
});
